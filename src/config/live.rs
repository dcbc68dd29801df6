//! Which settings change while the gateway runs, and which wait for a restart.
//!
//! Live: limits, countries, numbers, the log's form, what a job may be and which events are published, retention, how
//! long a drain takes, tokens and host names of the listeners. Waiting: names, folders, addresses, the broker and the
//! keys of the ledger. Every field is named here, so that a new one must say which of them it is.

use super::settings::{Amqp, Jobs, LedgerSettings, Listener, Node, Paths, Settings};

/// Keeps what is in force where the value differs, and notes the key.
struct Keep {
    restart_needed: Vec<&'static str>,
}

impl Settings {
    /// What holds from now on beside a gateway that runs with `self`, once the file says `read`; and the keys whose
    /// new value waits for a restart.
    pub fn adopt(&self, read: Settings) -> (Settings, Vec<&'static str>) {
        let mut keep = Keep {
            restart_needed: Vec::new(),
        };
        let settings = Settings {
            node: keep.node(&self.node, read.node),
            paths: keep.paths(&self.paths, read.paths),
            jobs: keep.jobs(&self.jobs, read.jobs),
            ledger: keep.ledger(&self.ledger, read.ledger),
            http: keep.listener("http.listen", &self.http, read.http),
            callbacks: keep.listener("callbacks.listen", &self.callbacks, read.callbacks),
            admin: keep.listener("admin.listen", &self.admin, read.admin),
            limits: read.limits,
            countries: read.countries,
            numbers: read.numbers,
            log: read.log,
        };
        (settings, keep.restart_needed)
    }
}

impl Keep {
    fn value<T: PartialEq + Clone>(&mut self, key: &'static str, in_force: &T, read: T) -> T {
        if *in_force != read {
            self.restart_needed.push(key);
        }
        in_force.clone()
    }

    fn node(&mut self, in_force: &Node, read: Node) -> Node {
        Node {
            name: self.value("node.name", &in_force.name, read.name),
            drain: read.drain,
            core_dumps: self.value("node.core_dumps", &in_force.core_dumps, read.core_dumps),
        }
    }

    fn paths(&mut self, in_force: &Paths, read: Paths) -> Paths {
        Paths {
            routes: self.value("paths.routes", &in_force.routes, read.routes),
            carriers: self.value("paths.carriers", &in_force.carriers, read.carriers),
            prompts: self.value("paths.prompts", &in_force.prompts, read.prompts),
        }
    }

    fn jobs(&mut self, in_force: &Jobs, read: Jobs) -> Jobs {
        Jobs {
            amqp: self.amqp(in_force.amqp.as_ref(), read.amqp),
            ..read
        }
    }

    fn amqp(&mut self, in_force: Option<&Amqp>, read: Option<Amqp>) -> Option<Amqp> {
        let (Some(in_force), Some(read)) = (in_force, &read) else {
            return self.value("jobs.amqp", &in_force.cloned(), read);
        };
        let read = read.clone();
        Some(Amqp {
            url: self.value("jobs.amqp.url", &in_force.url, read.url),
            tls: self.value("jobs.amqp.tls", &in_force.tls, read.tls),
            others: self.value("jobs.amqp.urls", &in_force.others, read.others),
            exchange: self.value("jobs.amqp.exchange", &in_force.exchange, read.exchange),
            queue: self.value("jobs.amqp.queue", &in_force.queue, read.queue),
            control: self.value("jobs.amqp.control", &in_force.control, read.control),
            dead: self.value("jobs.amqp.dead", &in_force.dead, read.dead),
            reports: self.value("jobs.amqp.reports", &in_force.reports, read.reports),
            prefetch: self.value("jobs.amqp.prefetch", &in_force.prefetch, read.prefetch),
        })
    }

    fn ledger(&mut self, in_force: &LedgerSettings, read: LedgerSettings) -> LedgerSettings {
        LedgerSettings {
            path: self.value("ledger.url", &in_force.path, read.path),
            keys: self.value("ledger.keys", &in_force.keys, read.keys),
            retention: read.retention,
            outcomes: read.outcomes,
            // Of use at the next start, whichever it is.
            on_loss: read.on_loss,
        }
    }

    /// A token belongs to its address: a listener that would move keeps both until the restart, or one that others
    /// reach could stand open meanwhile.
    fn listener(&mut self, key: &'static str, in_force: &Listener, read: Listener) -> Listener {
        if in_force.listen == read.listen {
            return read;
        }
        self.restart_needed.push(key);
        in_force.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::config::carrier::{Pace, Secret};

    #[test]
    fn what_can_change_does_and_what_cannot_is_named_and_kept() {
        let running = Settings::default();
        let mut read = running.clone();
        read.node.name = "gw-2".into();
        read.node.drain = Duration::from_secs(3);
        read.limits.per_user = Some(Pace {
            count: 9,
            per: Duration::from_secs(60),
        });
        read.jobs.max_segments = 2;
        read.jobs.amqp = Some(Amqp::at("amqp://localhost"));
        read.ledger.retention = Duration::from_secs(60);
        read.ledger.path = "elsewhere.db".into();
        read.http.token = Some(Secret::Env(Arc::from("TOKEN")));
        read.admin.listen.set_port(9);
        read.admin.hosts = vec!["panel".into()];
        let (now, waiting) = running.adopt(read.clone());
        assert_eq!(
            waiting,
            ["node.name", "jobs.amqp", "ledger.url", "admin.listen"]
        );
        assert_eq!((&now.limits, &now.http), (&read.limits, &read.http));
        assert_eq!(now.node.drain, read.node.drain);
        assert_eq!(now.ledger.retention, read.ledger.retention);
        assert_eq!((now.jobs.max_segments, &now.jobs.amqp), (2, &None));
        assert_eq!(
            (&now.admin, &now.node.name),
            (&running.admin, &running.node.name)
        );
        // Back again: nothing waits.
        assert_eq!(now.adopt(running.clone()), (running, vec![]));
    }

    #[test]
    fn of_the_broker_the_keys_are_named() {
        let mut running = Settings::default();
        running.jobs.amqp = Some(Amqp::at("amqp://one"));
        let mut read = running.clone();
        let amqp = read.jobs.amqp.as_mut().expect("a broker");
        amqp.prefetch = 7;
        let (now, waiting) = running.adopt(read);
        assert_eq!(
            (waiting.as_slice(), now),
            (&["jobs.amqp.prefetch"][..], running)
        );
    }
}
