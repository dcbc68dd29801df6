//! What the carrier's file says now: it may change while the sessions stay.

use std::sync::Arc;

use super::status::Statuses;
use crate::{
    config::{
        carrier::{CarrierConfig, SmppConfig},
        secret::SecretError,
    },
    protocol::smpp::Settings,
};

pub struct Live {
    pub config: Arc<CarrierConfig>,
    pub smpp: SmppConfig,
    pub statuses: Arc<Statuses>,
}

impl Live {
    pub fn new(config: Arc<CarrierConfig>, smpp: SmppConfig) -> Live {
        Live {
            statuses: Arc::new(Statuses::new(&config.status)),
            config,
            smpp,
        }
    }

    /// Of a session that binds with this password.
    pub fn settings(&self, password: String) -> Settings {
        Settings {
            system_id: self.smpp.system_id.to_string(),
            password,
            system_type: self.smpp.system_type.to_string(),
            window: self.smpp.window as usize,
            response_timeout: self.config.response_timeout,
            probe: self.config.probe,
        }
    }

    /// As it reads now: files and variables may be others than before.
    pub fn password(&self) -> Result<String, SecretError> {
        match &self.smpp.password {
            Some(secret) => secret.read(),
            None => Ok(String::new()),
        }
    }
}
