//! The sockets around a [`Centre`]: one task that listens, one per connection, one for the timers. No word of
//! the protocol is spoken here.

use super::centre::{Centre, Now};
use super::session::SessionId;
use super::{SmscConfig, SmscHandle};
use crate::listener::Listener;
use crate::script::{Faults, IdBase, Script};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Octets read at once.
const READ: usize = 64 * 1024;
/// How long a stopping carrier waits for the gateway's goodbyes.
const GOODBYE: Duration = Duration::from_secs(1);

/// The running tasks.
pub struct Driver {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    floor: Mutex<Floor>,
    /// The soonest deadline has changed.
    sooner: Notify,
    script: Script,
}

struct Floor {
    centre: Centre,
    wakers: HashMap<SessionId, Arc<Notify>>,
    /// What the timer task sleeps until.
    sleeping_until: Option<Instant>,
}

/// Open the port and start the tasks.
pub async fn start(config: SmscConfig) -> io::Result<SmscHandle> {
    let listener = Listener::bind(config.listen).await?;
    let address = listener.address();
    let centre = Centre::new(&config, IdBase::first(SystemTime::now()));
    let shared = Arc::new(Shared {
        floor: Mutex::new(Floor {
            centre,
            wakers: HashMap::new(),
            sleeping_until: None,
        }),
        sooner: Notify::new(),
        script: config.script.clone(),
    });
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(listen(shared.clone(), listener, stopped));
    let driver = Driver { shared, stop, task };
    Ok(SmscHandle {
        address,
        script: config.script,
        record: config.record,
        name: config.name,
        driver,
    })
}

impl Driver {
    /// See [`SmscHandle::text_from`].
    pub fn text_from(&self, person: &str, sender: &str, text: &str) -> bool {
        self.shared
            .with(|centre| centre.text_from(person, sender, text, now()))
    }

    /// See [`SmscHandle::stop`].
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that ended by itself has nothing more to say.
        let _ = self.task.await;
    }
}

impl Shared {
    /// Do something with the centre, then wake whoever has something to do.
    fn with<T>(&self, act: impl FnOnce(&mut Centre) -> T) -> T {
        let mut floor = self.floor();
        let result = act(&mut floor.centre);
        for id in floor.centre.dirty() {
            if let Some(waker) = floor.wakers.get(&id) {
                waker.notify_one();
            }
        }
        let deadline = floor.centre.deadline();
        let sooner = deadline.is_some_and(|new| floor.sleeping_until.is_none_or(|old| new < old));
        drop(floor);
        if sooner {
            self.sooner.notify_one();
        }
        result
    }

    /// Nothing panics while it is held.
    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accept connections until the stop; the timers run as long.
async fn listen(shared: Arc<Shared>, listener: Listener, stopped: watch::Receiver<bool>) {
    let mut timer = JoinSet::new();
    timer.spawn(keep_time(shared.clone()));
    let (script, stop) = (shared.script.clone(), stopped.clone());
    listener
        .serve(script, stopped, |stream| {
            serve(shared.clone(), stream, stop.clone())
        })
        .await;
}

async fn keep_time(shared: Arc<Shared>) {
    loop {
        let deadline = {
            let mut floor = shared.floor();
            floor.sleeping_until = floor.centre.deadline();
            floor.sleeping_until
        };
        let due = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => shared.with(|centre| centre.tick(now())),
            () = shared.sooner.notified() => {}
        }
    }
}

/// One connection until either side, the script or a stop ends it.
async fn serve(shared: Arc<Shared>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    // Small answers go out at once; without it they would only be slower.
    let _ = stream.set_nodelay(true);
    let Some(id) = shared.with(|centre| centre.connected(now())) else {
        return;
    };
    let waker = Arc::new(Notify::new());
    shared.floor().wakers.insert(id, waker.clone());
    let mut faults = shared.script.watch();
    let goodbye = async {
        // A dropped handle is a stop, too.
        let _ = stopped.wait_for(|stop| *stop).await;
        shared.with(|centre| centre.unbind(id, now()));
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        () = exchange(&shared, id, stream, &waker) => {}
        _ = faults.wait_for(|faults: &Arc<Faults>| faults.down) => {}
        () = goodbye => {}
    }
    shared.floor().wakers.remove(&id);
    shared.with(|centre| centre.closed(id, now()));
}

/// Octets in, octets out; one write for all that one read brought about.
async fn exchange(shared: &Shared, id: SessionId, mut stream: TcpStream, waker: &Notify) {
    let (mut reader, mut writer) = stream.split();
    let mut read = vec![0; READ];
    let mut write = Vec::new();
    loop {
        tokio::select! {
            count = reader.read(&mut read) => match count {
                Ok(count) if count > 0 => shared.with(|centre| centre.received(id, &read[..count], now())),
                _ => return,
            },
            () = waker.notified() => {}
        }
        let close = shared.floor().centre.output(id, &mut write);
        if writer.write_all(&write).await.is_err() {
            return;
        }
        if close {
            // The peer may be gone already.
            let _ = writer.shutdown().await;
            return;
        }
    }
}

fn now() -> Now {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Now {
        at: Instant::now(),
        unix,
    }
}
