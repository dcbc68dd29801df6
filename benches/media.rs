//! How much the audio of calls costs, and how evenly it goes: the engine and its floor in one run.
//!
//! `cargo bench --bench media -- [calls] [seconds]` (default 500 calls for 10 s). Every call plays and is played to,
//! 50 packets a second each way, and its far end presses # every second. The floor is one thread that does the same
//! system calls with fixed packets and no RTP. Far ends run in threads of this process; only the one thread under
//! measurement is accounted.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ringback::{
    carrier::sip::media::{Connection, Engine, EngineConfig, MediaEvent, MediaId},
    protocol::rtp::{Codec, FRAME, FRAME_TIME, Segment, Sound},
};
use tokio::sync::mpsc;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Far ends share sockets; the port they hear from tells calls apart.
const FAR_SOCKETS: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == "--bench") {
        println!("a measurement, not a test: cargo bench --bench media -- [calls] [seconds]");
        return;
    }
    let mut numbers = args.iter().filter_map(|arg| arg.parse::<u64>().ok());
    let calls = numbers.next().unwrap_or(500) as usize;
    let time = Duration::from_secs(numbers.next().unwrap_or(10));
    println!(
        "{calls} calls both ways for {} s; gaps between packets should be 20 ms",
        time.as_secs()
    );
    engine(calls, time);
    floor(calls, time);
}

/// The engine under load.
fn engine(calls: usize, time: Duration) {
    let config = EngineConfig {
        address: HOST,
        first_port: 20_000,
        last_port: 33_999,
        max_calls: calls,
        seed: 1,
    };
    let (engine, events) = Engine::start(config).expect("a thread can be started");
    let (far, prompt) = (FarEnds::open(), prompt());
    let ports: Vec<_> = (0..calls)
        .map(|_| engine.open().expect("there are ports enough"))
        .collect();
    for (i, port) in ports.iter().enumerate() {
        engine.connect(
            port.id,
            Connection {
                remote: far.address(i),
                hears: true,
                symmetric: false,
                codec: Codec::Pcmu,
                key_type: Some(101),
            },
        );
        engine.play(port.id, 0, &[Segment::Sound(prompt.clone())]);
    }
    let (stop, pressed) = (AtomicBool::new(false), Mutex::new(HashMap::new()));
    let (gaps, cpu, waits) = std::thread::scope(|scope| {
        let listener = scope.spawn(|| listen(&engine, events, &prompt, &pressed, &stop));
        let before = cpu("ringback-media");
        let addresses: Vec<SocketAddr> = ports.iter().map(|port| port.local).collect();
        let press = |i: usize, at: Instant| {
            let id = ports.get(i).map(|port| port.id);
            id.map(|id| {
                pressed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(id, at)
            });
        };
        let gaps = far.run(&addresses, time, press);
        let cpu = cpu("ringback-media").saturating_sub(before);
        stop.store(true, Ordering::Release);
        (gaps, cpu, listener.join().unwrap_or_default())
    });
    let stats = ports.iter().filter_map(|port| engine.close(port.id));
    let lost = stats.map(|stats| stats.lost + stats.unsent).sum::<u64>();
    show("engine", calls, time, cpu, gaps);
    let (p50, p99) = percentiles(waits);
    println!("        lost {lost}; # from the far end to the event p50 {p50:.1?}, p99 {p99:.1?}");
}

/// Takes the engine's events as a driver would: keeps every call playing, and times the keys.
fn listen(
    engine: &Engine,
    mut events: mpsc::Receiver<MediaEvent>,
    prompt: &Sound,
    pressed: &Mutex<HashMap<MediaId, Instant>>,
    stop: &AtomicBool,
) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built");
    let mut waits = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let next = runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(100), events.recv()).await
        });
        match next {
            Ok(Some(MediaEvent::PlayDone { id, .. })) => {
                engine.play(id, 0, &[Segment::Sound(prompt.clone())])
            }
            Ok(Some(MediaEvent::Key { id, .. })) => {
                let at = pressed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
                waits.extend(at.map(|at| at.elapsed()));
            }
            Ok(None) => break,
            Ok(Some(MediaEvent::Silent { .. })) | Err(_) => {}
        }
    }
    waits
}

/// The same traffic with the same sockets and nothing in between: read all, send fixed packets.
fn floor(calls: usize, time: Duration) {
    let far = FarEnds::open();
    let bind = |call| {
        let socket = UdpSocket::bind((HOST, 0))?;
        socket.connect(far.address(call))?;
        socket.set_nonblocking(true).map(|()| socket)
    };
    let sockets: Vec<UdpSocket> = (0..calls)
        .map(bind)
        .collect::<std::io::Result<_>>()
        .expect("sockets can be bound");
    let addresses: Vec<SocketAddr> = sockets
        .iter()
        .filter_map(|socket| socket.local_addr().ok())
        .collect();
    let stop = AtomicBool::new(false);
    let (gaps, cpu) = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("media-floor".into());
        let _running = thread
            .spawn_scoped(scope, || floor_thread(&sockets, &stop))
            .expect("a thread can be started");
        let before = cpu("media-floor");
        let gaps = far.run(&addresses, time, |_, _| {});
        let cpu = cpu("media-floor").saturating_sub(before);
        stop.store(true, Ordering::Release);
        (gaps, cpu)
    });
    show("floor", calls, time, cpu, gaps);
}

fn floor_thread(sockets: &[UdpSocket], stop: &AtomicBool) {
    let (mut next, mut turn, mut buffer) = (Instant::now(), 0, [0u8; 1_500]);
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        for (i, socket) in sockets.iter().enumerate() {
            if i % 2 == turn % 2 {
                let _ = socket.recv(&mut buffer);
            }
            if i % 4 == turn {
                let _ = socket.send(&[0xff; 12 + FRAME]);
            }
        }
        (turn, next) = ((turn + 1) % 4, next + FRAME_TIME / 4);
    }
}

/// The other side of all calls.
struct FarEnds {
    sockets: Vec<UdpSocket>,
}

impl FarEnds {
    fn open() -> FarEnds {
        let bind = |_| {
            let socket = UdpSocket::bind((HOST, 0)).expect("a socket can be bound");
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .expect("a time limit can be set");
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
            socket
        };
        FarEnds {
            sockets: (0..FAR_SOCKETS).map(bind).collect(),
        }
    }

    fn address(&self, call: usize) -> SocketAddr {
        self.sockets[call % FAR_SOCKETS]
            .local_addr()
            .expect("it is bound")
    }

    /// Plays to all and listens to all; the gaps between packets as heard.
    fn run(
        &self,
        to: &[SocketAddr],
        time: Duration,
        press: impl Fn(usize, Instant),
    ) -> Vec<Duration> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ears: Vec<_> = self
                .sockets
                .iter()
                .map(|socket| scope.spawn(|| hear(socket, &stop)))
                .collect();
            self.talk(to, time, press);
            stop.store(true, Ordering::Release);
            ears.into_iter()
                .flat_map(|ear| ear.join().unwrap_or_default())
                .collect()
        })
    }

    /// 50 packets a second to every call, spread over the 20 ms; every fiftieth is the end of a #.
    fn talk(&self, to: &[SocketAddr], time: Duration, press: impl Fn(usize, Instant)) {
        const SLOTS: usize = 20;
        let (start, mut slot) = (Instant::now(), 0usize);
        while start.elapsed() < time {
            let due = start + FRAME_TIME / SLOTS as u32 * slot as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let round = slot / SLOTS;
            for i in (slot % SLOTS..to.len()).step_by(SLOTS) {
                let mut packet = [0xffu8; 12 + FRAME];
                packet[..2].copy_from_slice(&[0x80, 0]);
                packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
                packet[4..8].copy_from_slice(&(round as u32 * FRAME as u32).to_be_bytes());
                packet[8..12].copy_from_slice(&(i as u32).to_be_bytes());
                let mut length = packet.len();
                if (round + i) % 50 == 49 {
                    (packet[1], length) = (101, 16);
                    packet[12..16].copy_from_slice(&[11, 0x8a, 3, 0x20]);
                    press(i, Instant::now());
                }
                let _ = self.sockets[i % FAR_SOCKETS].send_to(&packet[..length], to[i]);
            }
            slot += 1;
        }
    }
}

fn hear(socket: &UdpSocket, stop: &AtomicBool) -> Vec<Duration> {
    let (mut last, mut gaps, mut buffer) = (HashMap::new(), Vec::new(), [0u8; 1_500]);
    while !stop.load(Ordering::Acquire) {
        let Ok((_, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let now = Instant::now();
        gaps.extend(last.insert(from.port(), now).map(|before| now - before));
    }
    gaps
}

fn prompt() -> Sound {
    Sound::encode(
        &(0..FRAME * 300)
            .map(|i| (i * i % 9_000) as i16)
            .collect::<Vec<_>>(),
    )
}

fn show(name: &str, calls: usize, time: Duration, cpu: Duration, gaps: Vec<Duration>) {
    let packets = gaps.len() as f64 / (calls as f64 * time.as_secs_f64() * 50.0);
    let off = gaps
        .into_iter()
        .map(|gap| gap.abs_diff(FRAME_TIME))
        .collect();
    let (p50, p99) = percentiles(off);
    println!(
        "{name:<7} {:.1} % of a core, {:.4} s CPU per call-minute; gaps off by p50 {p50:.1?}, p99 {p99:.1?}; {:.1} % of the packets came",
        cpu.as_secs_f64() / time.as_secs_f64() * 100.0,
        cpu.as_secs_f64() / (calls as f64 * time.as_secs_f64() / 60.0),
        packets * 100.0
    );
}

fn percentiles(mut values: Vec<Duration>) -> (Duration, Duration) {
    values.sort_unstable();
    let at = |percent: usize| {
        values
            .get(values.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    (at(50), at(99))
}

/// CPU time of this process's thread of that name, in the kernel's ticks of 10 ms.
fn cpu(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let of = |task: std::fs::DirEntry| {
        let own = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        // Fields 14 and 15 of proc_pid_stat(5), counted after the name in brackets, which is field 2.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        (own.trim() == name).then_some(ticks(11)? + ticks(12)?)
    };
    Duration::from_millis(tasks.filter_map(of).sum::<u64>() * 10)
}
