//! A trunk that is open and not yet running.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{StartError, open, own_address};
use crate::{
    carrier::{CallCarrier, CallToEnd, CarrierMessage},
    config::CarrierConfig,
    message::speech::Catalogue,
};

/// Opens a trunk and starts its task. It runs until it is drained or nobody can command it any more.
pub async fn start(
    config: Arc<CarrierConfig>,
    voices: Arc<Catalogue>,
    said: mpsc::Sender<CarrierMessage>,
    unterminated: &[CallToEnd],
) -> Result<(CallCarrier, JoinHandle<()>), StartError> {
    let own = own_address(config.clone()).await?;
    let opened = open(config, voices, said, unterminated, own).await?;
    Ok((opened.trunk, tokio::spawn(opened.task)))
}

/// A trunk with its sockets, before anything is sent.
pub struct Opened {
    pub trunk: CallCarrier,
    /// As [`own_address`] has chosen it.
    pub bind: SocketAddr,
    pub task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

pub(super) fn random() -> Option<u128> {
    let mut seed = [0; 16];
    SystemRandom::new().fill(&mut seed).ok()?;
    Some(u128::from_le_bytes(seed))
}
