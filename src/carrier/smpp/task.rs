//! The task of one bind: its socket, its timer and its channels around [`Bind`]. It decides nothing.
//!
//! Everything that is ready is read in one call and what it leads to is written in one.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Sleep, sleep, sleep_until},
};

use super::{
    bind::{Bind, BindEvent, Connection},
    pool::PoolEvent,
    shared::Shared,
};
use crate::{
    carrier::{
        Acknowledgement, CarrierEvent, Reply, TextOrder,
        connect::{self, ConnectError, Stream},
    },
    clock,
    protocol::smpp::Counters,
};

/// Octets read in one call.
const READ: usize = 64 * 1024;
/// Orders taken in one go.
const BATCH: usize = 256;
/// A timer for "never": looked at once an hour.
const NEVER: Duration = Duration::from_secs(3_600);
/// The last octets (unbind_resp) are given this long to leave.
const LAST_WRITE: Duration = Duration::from_millis(200);

/// What the splitter tells a bind.
pub enum ToBind {
    /// The number marks the parts of its text.
    Submit(Box<TextOrder>, u8),
    Drain,
}

/// Where dispatch says which deliveries of this session are safe. As many as the session leaves unanswered.
type Answers = (u32, Reply);

struct Socket {
    reading: ReadHalf<Box<dyn Stream>>,
    writing: WriteHalf<Box<dyn Stream>>,
    is_flushed: bool,
    input: BytesMut,
    acks: mpsc::UnboundedSender<Answers>,
    answers: mpsc::UnboundedReceiver<Answers>,
}

type Connected = Result<Box<dyn Stream>, ConnectError>;
type Connecting = Pin<Box<dyn Future<Output = Connected> + Send>>;

pub struct BindTask {
    shared: Arc<Shared>,
    index: usize,
    inbox: mpsc::Receiver<ToBind>,
    /// Tells that what may change for a running session has changed.
    changes: watch::Receiver<()>,
    bind: Bind,
    socket: Option<Socket>,
    connecting: Option<Connecting>,
}

/// Nobody takes what is said any more.
struct NobodyListens;

impl BindTask {
    pub fn new(
        shared: Arc<Shared>,
        index: usize,
        inbox: mpsc::Receiver<ToBind>,
        changes: watch::Receiver<()>,
        seed: u64,
    ) -> BindTask {
        BindTask {
            bind: Bind::new(index, shared.live(), seed, Instant::now()),
            shared,
            index,
            inbox,
            changes,
            socket: None,
            connecting: None,
        }
    }

    /// Until drained, or until nobody listens.
    pub async fn run(mut self) {
        if self.carry().await.is_err() {
            return;
        }
        self.inbox.close();
        let mut told = Vec::new();
        while self.inbox.recv_many(&mut told, BATCH).await > 0 {
            self.told(&mut told);
        }
        // Nobody may listen any more.
        let _ = self.settle().await;
    }

    async fn carry(&mut self) -> Result<(), NobodyListens> {
        let mut told = Vec::with_capacity(BATCH);
        let timer = sleep(NEVER);
        tokio::pin!(timer);
        loop {
            self.settle().await?;
            if !self.see_to_the_connection().await {
                return Ok(());
            }
            self.wind(timer.as_mut());
            let (reads, takes) = (self.bind.wants_input(), self.bind.takes_orders());
            let output = self.bind.output();
            let (mut reading, mut writing, mut answers) = (None, None, None);
            if let Some(socket) = &mut self.socket {
                let writes = !output.is_empty() || !socket.is_flushed;
                reading = Some((&mut socket.reading, &mut socket.input)).filter(|_| reads);
                writing = Some(&mut socket.writing).filter(|_| writes);
                answers = Some(&mut socket.answers);
            }
            tokio::select! {
                wrote = write(&mut writing, output) => self.wrote(wrote),
                read = read(&mut reading) => self.read(read),
                Some(answer) = next(&mut answers) => self.answered(answer),
                connected = connected(&mut self.connecting) => self.connected(connected),
                count = self.inbox.recv_many(&mut told, BATCH), if takes => {
                    self.told(&mut told);
                    if count == 0 {
                        self.bind.drain(Instant::now());
                    }
                }
                () = changed(&mut self.changes) => {
                    let live = self.shared.live();
                    let password = live.password().ok();
                    self.bind.change(live, password, Instant::now());
                }
                () = &mut timer => self.bind.timeout(Instant::now()),
            }
        }
    }

    /// Says what follows from what came.
    async fn settle(&mut self) -> Result<(), NobodyListens> {
        let now = Instant::now();
        self.bind.settle(now, clock::now());
        while let Some(event) = self.bind.poll_event() {
            self.log(&event);
            match self.shared.heard(self.index, event, now) {
                Some(PoolEvent::Say(what)) => say(&self.shared, what).await?,
                // What stands behind it on the link (answers, probes) must be read.
                Some(PoolEvent::Bring(_, sequence)) if self.shared.is_behind() => {
                    self.bind.answer(sequence, Reply::QueueFull);
                }
                Some(PoolEvent::Bring(incoming, sequence)) => {
                    if let Some(socket) = &self.socket {
                        let ack = Acknowledgement::Session(socket.acks.clone(), sequence);
                        say(&self.shared, CarrierEvent::Incoming(incoming, ack)).await?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    fn log(&self, event: &BindEvent) {
        let (carrier, bind) = (&self.shared.name, self.index);
        match event {
            BindEvent::NotBound(reason) => {
                tracing::debug!(%carrier, bind, reason, "no session");
            }
            BindEvent::Lost { reason, counters } => {
                tracing::info!(%carrier, bind, reason, "session over");
                if *counters != Counters::default() {
                    tracing::info!(%carrier, ?counters, "the peer spoke out of turn");
                }
            }
            BindEvent::Bound
            | BindEvent::Outcome(_)
            | BindEvent::Probe { .. }
            | BindEvent::Brought { .. } => {}
        }
    }

    /// False: none is wanted ever again.
    async fn see_to_the_connection(&mut self) -> bool {
        let wanted = self.bind.connection();
        if wanted != Connection::Open
            && let Some(mut socket) = self.socket.take()
        {
            let last = socket.writing.write_all_buf(self.bind.output());
            // Whoever reads them may be gone.
            let _ = tokio::time::timeout(LAST_WRITE, last).await;
        }
        match wanted {
            Connection::Wanted(endpoint) if self.connecting.is_none() => {
                let live = self.shared.live();
                self.connecting = Some(Box::pin(async move {
                    let config = &live.config;
                    let endpoint = &config.endpoints[endpoint];
                    connect::connect(endpoint, &config.tls, config.response_timeout).await
                }));
            }
            Connection::Wanted(_) | Connection::Open | Connection::None => {}
            Connection::Over => return false,
        }
        true
    }

    fn connected(&mut self, connected: Connected) {
        self.connecting = None;
        let now = Instant::now();
        match connected {
            Ok(stream) => {
                let (reading, writing) = tokio::io::split(stream);
                let (acks, answers) = mpsc::unbounded_channel();
                self.socket = Some(Socket {
                    reading,
                    writing,
                    is_flushed: true,
                    input: BytesMut::with_capacity(READ),
                    acks,
                    answers,
                });
                self.bind.connected(self.shared.live().password(), now);
            }
            Err(error) => self.bind.connect_failed(error.to_string(), now),
        }
    }

    fn disconnected(&mut self, reason: String) {
        self.socket = None;
        self.bind.disconnected(reason, Instant::now());
    }

    /// None: what was written before is flushed.
    fn wrote(&mut self, wrote: io::Result<Option<usize>>) {
        match wrote {
            Ok(Some(0)) => self.disconnected(CLOSED.to_owned()),
            Ok(wrote) => {
                if let Some(socket) = &mut self.socket {
                    socket.is_flushed = wrote.is_none();
                }
                // Texts and numbers: nothing of what has left stays behind.
                let gone = wrote.unwrap_or_default();
                self.bind.output().split_to(gone).fill(0);
            }
            Err(error) => self.disconnected(connect::describe(&error)),
        }
    }

    fn read(&mut self, read: io::Result<usize>) {
        match read {
            Ok(1..) => {
                if let Some(socket) = &mut self.socket {
                    self.bind.receive(&mut socket.input, Instant::now());
                }
            }
            Ok(0) => self.disconnected(CLOSED.to_owned()),
            Err(error) => self.disconnected(connect::describe(&error)),
        }
    }

    fn answered(&mut self, (sequence, reply): Answers) {
        self.bind.answer(sequence, reply);
        let Some(socket) = &mut self.socket else {
            return;
        };
        while let Ok((sequence, reply)) = socket.answers.try_recv() {
            self.bind.answer(sequence, reply);
        }
    }

    fn told(&mut self, told: &mut Vec<ToBind>) {
        for one in told.drain(..) {
            match one {
                ToBind::Submit(order, concatenation) => self.bind.submit(*order, concatenation),
                ToBind::Drain => self.bind.drain(Instant::now()),
            }
        }
    }

    /// Sets the timer to the next deadline; a later deadline is found when the earlier one fires.
    fn wind(&self, timer: Pin<&mut Sleep>) {
        let next = self.bind.deadline();
        let next = next.unwrap_or_else(|| Instant::now() + NEVER);
        let next = tokio::time::Instant::from_std(next);
        if timer.is_elapsed() || next < timer.deadline() {
            let fresh = sleep_until(next);
            let deadline = fresh.deadline();
            timer.reset(deadline);
        }
    }
}

async fn say(shared: &Shared, what: CarrierEvent) -> Result<(), NobodyListens> {
    match shared.say(what).await {
        true => Ok(()),
        false => Err(NobodyListens),
    }
}

const CLOSED: &str = "connection closed by the peer";

async fn write(
    writing: &mut Option<&mut WriteHalf<Box<dyn Stream>>>,
    output: &BytesMut,
) -> io::Result<Option<usize>> {
    match writing {
        Some(writing) if output.is_empty() => writing.flush().await.map(|()| None),
        Some(writing) => writing.write(output).await.map(Some),
        None => pending().await,
    }
}

async fn read(
    reading: &mut Option<(&mut ReadHalf<Box<dyn Stream>>, &mut BytesMut)>,
) -> io::Result<usize> {
    match reading {
        Some((reading, input)) => {
            input.reserve(READ / 4);
            reading.read_buf(*input).await
        }
        None => pending().await,
    }
}

async fn next(answers: &mut Option<&mut mpsc::UnboundedReceiver<Answers>>) -> Option<Answers> {
    match answers {
        Some(answers) => answers.recv().await,
        None => pending().await,
    }
}

async fn connected(connecting: &mut Option<Connecting>) -> Connected {
    match connecting {
        Some(connecting) => connecting.await,
        None => pending().await,
    }
}

/// Never, once nobody can change it any more.
async fn changed(changes: &mut watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        pending().await
    }
}
