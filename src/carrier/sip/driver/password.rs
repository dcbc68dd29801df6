//! A trunk's password: read before each call, since it may have been rotated.

use crate::{
    config::carrier::{CarrierConfig, Secret, Transport},
    protocol::sip::digest::Credentials,
};

/// Where it stands, and as it was last read.
pub(super) struct Password {
    place: Option<(String, Secret)>,
    read: Option<(String, String)>,
}

private_debug!(Password);

impl Password {
    pub fn of(config: &CarrierConfig) -> Password {
        Password {
            place: place(config),
            read: None,
        }
    }

    pub fn change(&mut self, config: &CarrierConfig) {
        self.place = place(config);
    }

    /// What is to be used from now on, if that is not what was used. What can't be read leaves it as it was.
    pub fn news(&mut self, carrier: &str) -> Option<Option<Credentials>> {
        let Some((username, secret)) = &self.place else {
            return self.read.take().map(|_| None);
        };
        let read = match secret.read() {
            Ok(password) => (username.clone(), password),
            Err(reason) => {
                let until = match self.read {
                    Some(_) => "the one read before is used",
                    None => "calls go out without one, and are refused where the trunk asks for it",
                };
                tracing::error!(%carrier, %reason, "the password can't be read: {until}");
                return None;
            }
        };
        if self.read.as_ref() == Some(&read) {
            return None;
        }
        let (username, password) = read.clone();
        self.read = Some(read);
        Some(Some(Credentials { username, password }))
    }
}

fn place(config: &CarrierConfig) -> Option<(String, Secret)> {
    match &config.transport {
        Transport::Sip(sip) => Some((sip.username.as_deref()?.to_owned(), sip.password.clone()?)),
        Transport::Smpp(_) | Transport::Http(_) => None,
    }
}
