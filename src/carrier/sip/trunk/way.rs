//! The way of one order: the targets it was asked of, and the redirections it has followed.

use std::{net::SocketAddr, sync::Arc};

use super::{Notice, Trunk, targets::Target};
use crate::{
    carrier::sip::redirect::{self, RedirectStep},
    number,
    protocol::sip::CallHandle,
};

/// How an order has come so far.
#[derive(Clone, Default)]
pub(super) struct Way {
    /// What the trunk was called when the order came.
    pub carrier: Arc<str>,
    /// Addresses asked for this order.
    pub tried: Vec<SocketAddr>,
    /// The last target asked.
    pub last: Option<Target>,
    /// Redirections followed.
    pub steps: Vec<RedirectStep>,
    /// The last of them is to be taken now.
    pub redirected: bool,
    /// The last of them, for the report.
    pub code: Option<Arc<str>>,
}

impl Way {
    /// The step that a redirection has asked for.
    pub fn next_step(&mut self) -> Option<(RedirectStep, Target)> {
        let redirected = std::mem::take(&mut self.redirected);
        let step = self.steps.last().filter(|_| redirected)?.clone();
        let mut target = self.last.clone()?;
        if let Some((_, address)) = &step.place {
            target.address = *address;
        }
        Some((step, target))
    }
}

impl Trunk {
    /// May this redirection be followed? Notes the step, or says why not.
    pub(super) fn redirect(
        &mut self,
        call: CallHandle,
        status: u16,
        contacts: &[String],
    ) -> Result<(), &'static str> {
        let addresses: Vec<_> = self
            .targets
            .iter()
            .map(|target| (target.endpoint, target.address))
            .collect();
        let (targets, allow) = (&self.targets, &self.sip.allow);
        let trunk = redirect::RedirectScope {
            redirects: self.sip.redirects,
            format: self.sip.number_format,
            endpoints: &self.endpoints,
            addresses: &addresses,
            is_own: &|ip| {
                targets.iter().any(|target| target.address.ip() == ip)
                    || allow.iter().any(|block| block.contains(ip))
            },
        };
        let Some(active) = self.calls.get_mut(&call) else {
            return Err("over");
        };
        if self.draining.is_some() {
            return Err("the trunk is being drained");
        }
        let called = active
            .way
            .steps
            .last()
            .map_or(active.order.to, |step| step.to);
        let mut why = redirect::No::Unusable.name();
        for contact in contacts {
            match redirect::step(contact, &called, &trunk, &active.order.content.rules) {
                Ok(step) if active.way.steps.contains(&step) => why = "in a circle",
                Ok(_) if active.way.steps.len() == redirect::MAX_REDIRECTS => why = "too many",
                Ok(step) => {
                    let to = number::mask(step.to.e164());
                    active.way.code = Some(format!("{status} redirected to {to}").into());
                    active.way.steps.push(step);
                    active.way.redirected = true;
                    let reference = active.reference.clone();
                    self.notice(Notice::Redirected(reference, status, to));
                    return Ok(());
                }
                Err(no) => why = no.name(),
            }
        }
        let reference = active.reference.clone();
        self.notice(Notice::NotRedirected(reference, status, why));
        Err(why)
    }
}
