-- The store, version 1. Times are integers: milliseconds since 1970 UTC. Later versions are files of their own in migrations.
-- docs/decisions/0004-collector.md explains chain, span and interval.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    site TEXT,
    org TEXT,
    created INTEGER NOT NULL,
    agent INTEGER REFERENCES agent (id)      -- whose runs the room is shown by: the agent enrolled last that has sent any
);

CREATE TABLE agent (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    room INTEGER NOT NULL REFERENCES room (id),
    token_hash BLOB NOT NULL UNIQUE,
    enrolled INTEGER NOT NULL,
    revoked INTEGER,
    last_seen INTEGER,
    every_ms INTEGER NOT NULL DEFAULT 300000,
    hostname TEXT,
    chain INTEGER,                           -- the epoch that its newest run belongs to
    rank INTEGER NOT NULL DEFAULT -1         -- its worst service: 3 broken, 2 degraded, 1 unknown, 0 full, -1 no run yet
);
CREATE INDEX agent_room ON agent (room);

CREATE TABLE chain (                         -- one epoch of one agent: what its numbers count in
    id INTEGER PRIMARY KEY,
    agent INTEGER NOT NULL REFERENCES agent (id),
    epoch BLOB NOT NULL,
    top_seq INTEGER,
    top_at INTEGER,
    doc INTEGER,                             -- the newest document's number
    version TEXT,                            -- of the roomprobe that made it
    UNIQUE (agent, epoch)
);

CREATE TABLE run (
    chain INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,                     -- started, rebased where the agent's clock cannot be right
    started INTEGER NOT NULL,                -- as the agent said
    received INTEGER NOT NULL,
    full INTEGER NOT NULL,
    trigger_ TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    PRIMARY KEY (chain, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX run_id ON run (id);
CREATE INDEX run_received ON run (received);

CREATE TABLE span (                          -- numbers without a hole between them, all with the same hash (NULL: no runs)
    chain INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    hash BLOB,
    at_first INTEGER NOT NULL,
    at_last INTEGER NOT NULL,
    doc INTEGER,                             -- its earliest document's number
    PRIMARY KEY (chain, first)
) WITHOUT ROWID;
CREATE INDEX span_hash ON span (hash, chain);
CREATE INDEX span_at ON span (at_last);

CREATE TABLE content (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE known (                         -- what an agent's hash stands for
    agent INTEGER NOT NULL,
    hash BLOB NOT NULL,
    content INTEGER NOT NULL,
    PRIMARY KEY (agent, hash)
) WITHOUT ROWID;

CREATE TABLE document (
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (chain, seq)
);

CREATE TABLE subject (                       -- what has intervals: a check or a service
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,                      -- check, service
    profile TEXT NOT NULL,
    row TEXT NOT NULL,                       -- '' for a service
    name TEXT NOT NULL,                      -- the id of the check or the service
    UNIQUE (kind, profile, row, name)
);
CREATE INDEX subject_name ON subject (name);

CREATE TABLE interval (                      -- begins here; ends where the next one of its chain and subject begins
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    outcome TEXT,                            -- a service's state; NULL: not in the plan any more
    confidence TEXT,
    reason TEXT,
    where_ TEXT,
    at_least TEXT,
    sentence TEXT,
    evidence BLOB,                           -- JSON, zlib
    doc INTEGER,                             -- the document that sentence and evidence are from
    last INTEGER NOT NULL DEFAULT 0,         -- the last one of its chain and subject
    UNIQUE (chain, subject, seq)
);
CREATE INDEX interval_at ON interval (at);
CREATE INDEX interval_chain ON interval (chain, seq);
CREATE INDEX interval_now ON interval (chain) WHERE last = 1;
-- All that a row across all rooms is counted and sorted by, so that the intervals themselves, long with evidence, are not read.
CREATE INDEX interval_across ON interval (subject, chain, outcome, reason, last) WHERE last = 1;

CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE aggregate (                     -- round-trip times of 5 minutes, in microseconds
    agent INTEGER NOT NULL,
    bucket INTEGER NOT NULL,                 -- milliseconds / 300,000
    series INTEGER NOT NULL,
    n INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    least INTEGER NOT NULL,
    most INTEGER NOT NULL,
    PRIMARY KEY (agent, bucket, series)
) WITHOUT ROWID;

CREATE TABLE loss (
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    of BLOB,
    first INTEGER,
    last INTEGER,
    count INTEGER,
    since TEXT,
    until TEXT,
    reason TEXT NOT NULL,
    received INTEGER NOT NULL,
    UNIQUE (chain, seq)
);

CREATE TABLE user (name TEXT PRIMARY KEY, password TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE session (hash BLOB PRIMARY KEY, user TEXT NOT NULL, csrf TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE share (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    room INTEGER REFERENCES room (id),       -- NULL: the whole fleet
    label TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER
);
CREATE TABLE token (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER
);
CREATE TABLE enrolment (
    hash BLOB PRIMARY KEY,
    room INTEGER NOT NULL REFERENCES room (id),
    expires INTEGER NOT NULL,
    used INTEGER
) WITHOUT ROWID;
CREATE TABLE audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
