-- Counters of the whole ledger.
CREATE TABLE meta (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO meta VALUES ('epoch', 0);

-- Who writes here. term: the last opening of each. robbed: so often others have taken over something of it in this term.
CREATE TABLE nodes (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text NOT NULL UNIQUE,
    term   bigint NOT NULL,
    robbed bigint NOT NULL DEFAULT 0
);

-- Master keys that have sealed something here. sealed: rows may be sealed by it. Else only references are found by it.
CREATE TABLE keys (
    number      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint bytea NOT NULL UNIQUE,
    id          text NOT NULL,
    sealed      boolean NOT NULL
);

-- Secrets of the ledger's own, sealed.
CREATE TABLE secrets (
    name   text PRIMARY KEY,
    sealed bytea NOT NULL
);

-- An id is taken once. Narrow, and in no partition: a key over all of them can't live in partitions by age.
CREATE TABLE ids (
    hmac bytea PRIMARY KEY,
    key  bigint NOT NULL
);

-- Challenges until they are wiped. What changes is in no index but for the end, so that a step moves no index.
CREATE TABLE live (
    key      bigint PRIMARY KEY,
    owner    integer NOT NULL,
    term     bigint NOT NULL,
    arrived  bigint NOT NULL,
    deadline bigint NOT NULL,
    ended    bigint,
    verified boolean,
    id       bytea NOT NULL,
    head     bytea NOT NULL,
    last     bytea,
    life     bytea NOT NULL,
    job      bytea NOT NULL,
    limits   bytea,
    late     bytea
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX live_arrived ON live (arrived);
CREATE INDEX live_open ON live (owner, deadline) WHERE ended IS NULL;

-- Wiped challenges, in parts by arrival: a part whose time is over is dropped whole.
CREATE TABLE history (
    key      bigint NOT NULL,
    arrived  bigint NOT NULL,
    deadline bigint NOT NULL,
    ended    bigint NOT NULL,
    verified boolean,
    id       bytea NOT NULL,
    head     bytea NOT NULL,
    late     bytea,
    rest     bytea,
    PRIMARY KEY (key, arrived)
) PARTITION BY RANGE (arrived);

-- What is left after retention. An id may come again by then, so it may stand here several times.
CREATE TABLE outcomes (
    key     bigint NOT NULL,
    arrived bigint NOT NULL,
    ended   bigint NOT NULL,
    id      bytea NOT NULL,
    body    bytea NOT NULL,
    PRIMARY KEY (key, arrived)
) PARTITION BY RANGE (arrived);
CREATE INDEX outcomes_of ON outcomes (id);

-- The parts that there are; `whole` names the table that they are parts of.
CREATE TABLE parts (
    whole  text NOT NULL,
    begins bigint NOT NULL,
    ends   bigint NOT NULL,
    PRIMARY KEY (whole, begins)
);

-- One reference may lead to several attempts. number: of the key that made the HMAC. phone: of its last digits, keyed.
CREATE TABLE refs (
    hmac      bytea NOT NULL,
    challenge bigint NOT NULL,
    attempt   integer NOT NULL,
    part      integer NOT NULL,
    number    integer NOT NULL,
    phone     bigint,
    PRIMARY KEY (hmac, challenge, attempt, part)
);
CREATE INDEX refs_of ON refs (challenge);

-- What carriers have brought and what has led to nothing yet.
CREATE TABLE inbox (
    message bigint PRIMARY KEY,
    owner   integer NOT NULL,
    at      bigint NOT NULL,
    body    bytea NOT NULL
);

-- Reports that wait for the broker. kind: 0 reply_to, 1 exchange, 2 exchange and mandatory.
CREATE TABLE outbox (
    report    bigint PRIMARY KEY,
    owner     integer NOT NULL,
    challenge bigint NOT NULL,
    seq       bigint NOT NULL,
    kind      integer NOT NULL,
    route     bytea NOT NULL,
    final     boolean NOT NULL,
    until     bigint NOT NULL,
    at        bigint NOT NULL,
    body      bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Reports that are asked for by HTTP.
CREATE TABLE kept (
    report    bigint PRIMARY KEY,
    challenge bigint NOT NULL,
    seq       bigint NOT NULL,
    final     boolean NOT NULL,
    until     bigint NOT NULL,
    body      bytea NOT NULL
);
CREATE INDEX kept_of ON kept (challenge, seq);

-- Calls that a crash would leave up.
CREATE TABLE calls (
    challenge bigint NOT NULL,
    attempt   integer NOT NULL,
    owner     integer NOT NULL,
    carrier   bytea NOT NULL,
    state     bytea NOT NULL,
    PRIMARY KEY (challenge, attempt)
);

-- Control messages for ids that have not come yet.
CREATE TABLE early (
    hmac   bytea PRIMARY KEY,
    number integer NOT NULL,
    word   bigint NOT NULL,
    until  bigint NOT NULL
);
CREATE INDEX early_until ON early (until);

CREATE TABLE overlay (
    subject bytea PRIMARY KEY,
    entry   bytea NOT NULL
);
CREATE TABLE audit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record bytea NOT NULL
);

-- The limiter's windows. arrivals: of those that still count, eight octets each. until: when the last of them counts no longer.
CREATE TABLE windows (
    key      bigint PRIMARY KEY,
    kind     integer NOT NULL,
    until    bigint NOT NULL,
    arrivals bytea NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
