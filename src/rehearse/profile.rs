//! What goes wrong, and how often: so many times in a thousand, unless something else is said.

/// The faults of a rehearsal.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: &'static str,

    // --- the process, the disk, the broker, the clock
    /// Of all commits: the process dies before or just after it.
    pub crash_at_commit: u32,
    /// So many times in the life of a run, at any moment.
    pub crashes: u64,
    /// The same: the process is told to stop, and stops cleanly.
    pub drains: u64,
    pub disk_refusals: u64,
    pub broker_outages: u64,
    pub clock_steps: u64,
    pub reloads: u64,

    // --- reports on their way to the broker
    /// So many times in the life of a run: their connection breaks, what is on its way being read or not.
    pub report_cuts: u64,
    /// The same: the broker reads nothing from those who publish for a while.
    pub broker_blocks: u64,
    /// The same: a queue of replies is gone for a while, and returned is what was for it.
    pub queues_gone: u64,
    /// Of those: for longer than reports are tried.
    pub long_gone: u32,
    /// Of reports: the broker refuses it.
    pub nacked: u32,
    /// Of confirms: it comes late, and those that follow with it.
    pub confirm_late: u32,
    /// The same: neither it nor another of its channel comes.
    pub confirm_lost: u32,
    /// Of the lives of the process: its publisher has room for little.
    pub little_room: u32,

    // --- the carriers
    /// So many times in the life of a run: a link breaks.
    pub link_cuts: u64,
    /// Of all writes on an SMPP link: a part of it arrives, and the connection breaks. The same of HTTP requests and answers.
    pub wire_breaks: u32,
    pub refused: u32,
    pub throttled: u32,
    /// No answer in time; half of these texts the carrier has all the same.
    pub silent: u32,
    /// Of those: the answer comes late.
    pub late_answer: u32,
    pub no_reference: u32,
    /// The id that another text has as well.
    pub shared_reference: u32,
    /// The receipt writes the id in another base.
    pub other_base: u32,
    pub receipt_early: u32,
    pub receipt_twice: u32,
    pub receipt_missing: u32,
    pub receipt_bad: u32,
    /// Another that says the contrary follows.
    pub receipt_contradicts: u32,
    pub receipt_nameless: u32,
    /// A receipt of somebody else's text follows.
    pub receipt_foreign: u32,
    /// Of callbacks: before it comes one that says the contrary and that the carrier has not signed.
    pub callbacks_forged: u32,
    /// Of calls: what else than "answered, and # pressed".
    pub call_fails: u32,

    // --- the network between a trunk and its far end
    pub datagrams_lost: u32,
    /// They come after others that were sent later.
    pub datagrams_late: u32,
    pub datagrams_repeated: u32,
    /// A forged one comes with it, from an address that is not the trunk's.
    pub datagrams_forged: u32,
    /// Of runs, and of trunks with several targets: one of them never answers.
    pub dead_targets: u32,
    /// Of CANCELs: the person picks up all the same.
    pub answers_cancelled: u32,
    /// Of calls: there is no audio for them.
    pub no_audio: u32,

    // --- the servers that ask, and the people
    /// Little time is left when they come.
    pub hurried: u32,
    /// A phone that others are asked for as well.
    pub same_phone: u32,
    pub redelivered: u32,
    pub same_id_again: u32,
    pub other_content: u32,
    pub cancelled: u32,
    pub feedback: u32,
    /// A word that comes before its challenge.
    pub early_word: u32,
    /// By HTTP: the client waits no longer.
    pub gives_up: u32,
}

impl Profile {
    /// Nothing goes wrong.
    pub const HEALTHY: Profile = Profile {
        name: "healthy",
        crash_at_commit: 0,
        crashes: 0,
        drains: 0,
        disk_refusals: 0,
        broker_outages: 0,
        clock_steps: 0,
        reloads: 0,
        report_cuts: 0,
        broker_blocks: 0,
        queues_gone: 0,
        long_gone: 0,
        nacked: 0,
        confirm_late: 0,
        confirm_lost: 0,
        little_room: 0,
        link_cuts: 0,
        wire_breaks: 0,
        refused: 0,
        throttled: 0,
        silent: 0,
        late_answer: 0,
        no_reference: 0,
        shared_reference: 0,
        other_base: 0,
        receipt_early: 0,
        receipt_twice: 0,
        receipt_missing: 0,
        receipt_bad: 0,
        receipt_contradicts: 0,
        receipt_nameless: 0,
        receipt_foreign: 0,
        callbacks_forged: 0,
        call_fails: 0,
        datagrams_lost: 0,
        datagrams_late: 0,
        datagrams_repeated: 0,
        datagrams_forged: 0,
        dead_targets: 0,
        answers_cancelled: 0,
        no_audio: 0,
        hurried: 0,
        same_phone: 0,
        redelivered: 0,
        same_id_again: 0,
        other_content: 0,
        cancelled: 0,
        feedback: 0,
        early_word: 0,
        gives_up: 0,
    };

    /// A bit of everything.
    pub const STORM: Profile = Profile {
        name: "storm",
        crash_at_commit: 4,
        crashes: 1,
        drains: 1,
        disk_refusals: 1,
        broker_outages: 1,
        clock_steps: 1,
        reloads: 4,
        report_cuts: 3,
        broker_blocks: 1,
        queues_gone: 1,
        long_gone: 20,
        nacked: 10,
        confirm_late: 20,
        confirm_lost: 2,
        little_room: 700,
        link_cuts: 3,
        wire_breaks: 4,
        refused: 60,
        throttled: 60,
        silent: 60,
        late_answer: 400,
        no_reference: 30,
        shared_reference: 30,
        other_base: 100,
        receipt_early: 120,
        receipt_twice: 80,
        receipt_missing: 50,
        receipt_bad: 80,
        receipt_contradicts: 60,
        receipt_nameless: 30,
        receipt_foreign: 20,
        callbacks_forged: 30,
        call_fails: 350,
        datagrams_lost: 30,
        datagrams_late: 30,
        datagrams_repeated: 30,
        datagrams_forged: 30,
        dead_targets: 300,
        answers_cancelled: 300,
        no_audio: 10,
        hurried: 150,
        same_phone: 50,
        redelivered: 60,
        same_id_again: 60,
        other_content: 30,
        cancelled: 60,
        feedback: 120,
        early_word: 200,
        gives_up: 60,
    };

    /// The process dies again and again; all else is well.
    pub const CRASHES: Profile = Profile {
        name: "crashes",
        crash_at_commit: 40,
        crashes: 4,
        drains: 1,
        wire_breaks: 4,
        report_cuts: 2,
        confirm_late: 30,
        confirm_lost: 3,
        little_room: 500,
        redelivered: 100,
        receipt_early: 200,
        datagrams_late: 20,
        datagrams_repeated: 20,
        ..Profile::HEALTHY
    };

    /// Carriers that do what they like; the process lives.
    pub const CARRIERS: Profile = Profile {
        name: "carriers",
        crash_at_commit: 0,
        crashes: 0,
        drains: 1,
        link_cuts: 8,
        wire_breaks: 15,
        hurried: 0,
        refused: 150,
        throttled: 150,
        silent: 150,
        ..Profile::STORM
    };

    /// Texts whose carriers say little of them, to few phones.
    pub const DOUBTS: Profile = Profile {
        name: "doubts",
        same_phone: 700,
        silent: 300,
        no_reference: 150,
        receipt_twice: 200,
        ..Profile::CARRIERS
    };

    pub const ALL: [Profile; 5] = [
        Profile::STORM,
        Profile::CRASHES,
        Profile::CARRIERS,
        Profile::DOUBTS,
        Profile::HEALTHY,
    ];

    pub fn named(name: &str) -> Option<Profile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.name == name)
    }

    /// Do all challenges succeed, as far as the carriers and the people go?
    pub fn is_healthy(&self) -> bool {
        self.name == Profile::HEALTHY.name
    }
}
