-- Nodes tell each other that they live. beat: counted up again and again; where it stands still for a term, others take over.
-- gone: it has ended well. open: challenges that it has. configuration: a hash of the set in use. parts: it uses one of so many
-- parts of what the carriers allow, 0: none. seen: the newest term among the nodes that it counts.
ALTER TABLE nodes
    ADD COLUMN beat          bigint  NOT NULL DEFAULT 0,
    ADD COLUMN gone          boolean NOT NULL DEFAULT false,
    ADD COLUMN version       text    NOT NULL DEFAULT '',
    ADD COLUMN configuration text    NOT NULL DEFAULT '',
    ADD COLUMN open          bigint  NOT NULL DEFAULT 0,
    ADD COLUMN parts         integer NOT NULL DEFAULT 0,
    ADD COLUMN seen          bigint  NOT NULL DEFAULT 0;

-- challenge: what was brought to another node than the one that has this challenge, which is the owner from then on.
ALTER TABLE inbox ADD COLUMN challenge bigint;
CREATE INDEX inbox_handed ON inbox (owner) WHERE challenge IS NOT NULL;
