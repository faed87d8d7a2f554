-- Something of every kind of record that a server can be brought to write by one session.

-- What the counts of changed rows are compared with: the table's file, then its rows.
CREATE TABLE counted (n int PRIMARY KEY, s text) WITH (autovacuum_enabled = off);
SELECT pg_logical_emit_message(false, 'counted', pg_relation_filenode('counted')::text);
INSERT INTO counted VALUES (1, 'one');
INSERT INTO counted SELECT n, 'many' FROM generate_series(2, 100) AS n;
COPY (SELECT n, 'copied' FROM generate_series(101, 1000) AS n) TO :'copyfile';
COPY counted FROM :'copyfile';
INSERT INTO counted VALUES (1, 'there'), (1001, 'new') ON CONFLICT (n) DO NOTHING;
UPDATE counted SET s = 'updated' WHERE n <= 30;
UPDATE counted SET n = n + 10000 WHERE n BETWEEN 31 AND 40;
DELETE FROM counted WHERE n BETWEEN 101 AND 150;
BEGIN; DELETE FROM counted WHERE n BETWEEN 201 AND 207; ROLLBACK;
SELECT n FROM counted WHERE n < 20 FOR UPDATE;
VACUUM (FREEZE) counted;

-- Every access method, grown and emptied.
SET maintenance_work_mem = '1MB';
CREATE TABLE many (n int, s text, a int[], p point) WITH (autovacuum_enabled = off);
CREATE INDEX many_btree ON many (n);
CREATE INDEX many_hash ON many USING hash (n);
CREATE INDEX many_gin ON many USING gin (a) WITH (fastupdate = off);
CREATE INDEX many_gist ON many USING gist (p);
CREATE INDEX many_spgist ON many USING spgist (p);
CREATE INDEX many_spgist_text ON many USING spgist (s);
CREATE INDEX many_brin ON many USING brin (n) WITH (pages_per_range = 2);
INSERT INTO many
    SELECT n, md5((n % 100)::text) || n, ARRAY[0, n], point(n % 317, n % 1009) FROM generate_series(1, 4000) AS n;
SELECT brin_summarize_new_values('many_brin');
SELECT brin_desummarize_range('many_brin', 0);
SELECT brin_summarize_range('many_brin', 0);
DELETE FROM many WHERE n BETWEEN 300 AND 3900;
SET enable_seqscan = off;
SELECT count(*) FROM many WHERE n BETWEEN 250 AND 3950;
SELECT count(*) FROM many WHERE p <@ box '((-1,-1),(2000,2000))';
RESET enable_seqscan;
INSERT INTO many SELECT n, 'again' || n, ARRAY[0, n], point(n % 317, n % 1009) FROM generate_series(300, 600) AS n;
VACUUM many;
SELECT txid_current();
VACUUM (INDEX_CLEANUP on) many;
SELECT txid_current();
VACUUM (INDEX_CLEANUP on) many;
INSERT INTO many SELECT n, md5(n::text), ARRAY[0, n], point(n, n) FROM generate_series(20000, 21000) AS n;
REINDEX TABLE many;
CREATE INDEX many_pending ON many USING gin (a) WITH (fastupdate = on);
INSERT INTO many SELECT n, 'pending', ARRAY[0, n], point(n, n) FROM generate_series(30000, 30300) AS n;
SELECT gin_clean_pending_list('many_pending');
CREATE UNIQUE INDEX many_unique ON many (n, s);
DELETE FROM many WHERE n < 30300;
VACUUM many;
CREATE TABLE few (p point) WITH (autovacuum_enabled = off);
CREATE INDEX ON few USING spgist (p);
INSERT INTO few SELECT point(n, n) FROM generate_series(1, 20) AS n;
DELETE FROM few;
VACUUM few;
CREATE TABLE prefixes (s text) WITH (autovacuum_enabled = off);
CREATE INDEX ON prefixes USING spgist (s);
INSERT INTO prefixes SELECT 'the same beginning ' || md5(n::text) FROM generate_series(1, 300) AS n;
INSERT INTO prefixes SELECT 'the other beginning ' || n FROM generate_series(1, 10) AS n;
CREATE TABLE growing (s text) WITH (autovacuum_enabled = off, fillfactor = 30);
CREATE INDEX growing_brin ON growing USING brin (s) WITH (pages_per_range = 1);
INSERT INTO growing SELECT md5(n::text) FROM generate_series(1, 1500) AS n;
SELECT brin_summarize_new_values('growing_brin');
UPDATE growing SET s = s || repeat(s, 20) WHERE ctid IN (SELECT min(ctid) FROM growing GROUP BY (ctid::text::point)[0]);
CREATE TABLE one_dup (n int) WITH (autovacuum_enabled = off);
CREATE INDEX ON one_dup (n);
CREATE INDEX one_dup_hash ON one_dup USING hash (n);
INSERT INTO one_dup SELECT 7 FROM generate_series(1, 1500);
INSERT INTO one_dup SELECT n FROM generate_series(1, 1500) AS n;
INSERT INTO one_dup SELECT 7 FROM generate_series(1, 100);
DELETE FROM one_dup WHERE ctid < '(5,0)';
VACUUM one_dup;
CLUSTER many USING many_btree;
VACUUM FULL counted;

-- Deletions that the next insertions clean up.
CREATE TABLE churn (n int PRIMARY KEY, s text) WITH (autovacuum_enabled = off, fillfactor = 50);
CREATE INDEX churn_hash ON churn USING hash (s);
INSERT INTO churn SELECT n, 'churn' FROM generate_series(1, 500) AS n;
DO $$ BEGIN FOR i IN 1..12 LOOP UPDATE churn SET s = 'churn' || i WHERE n < 300; COMMIT; END LOOP; END $$;
DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE churn SET s = s || 'x' WHERE n = i; COMMIT; END LOOP; END $$;
DELETE FROM churn WHERE n BETWEEN 50 AND 400;
SET enable_seqscan = off;
SELECT count(*) FROM churn WHERE n BETWEEN 1 AND 500;
SELECT count(*) FROM churn WHERE s = 'churn12';
INSERT INTO churn SELECT n, 'churn12' FROM generate_series(50, 400) AS n;
RESET enable_seqscan;

-- Locks of several at once, in one session: a prepared transaction goes on holding its own.
BEGIN; SELECT n FROM counted WHERE n = 1 FOR SHARE; PREPARE TRANSACTION 'walbrook shared';
BEGIN; SELECT n FROM counted WHERE n = 1 FOR KEY SHARE; COMMIT;
COMMIT PREPARED 'walbrook shared';
BEGIN; SELECT n FROM counted WHERE n = 2 FOR KEY SHARE; SAVEPOINT s; UPDATE counted SET s = 'locked' WHERE n = 2; COMMIT;

BEGIN; UPDATE counted SET s = 'prepared' WHERE n = 3; PREPARE TRANSACTION 'walbrook updated';
BEGIN; SELECT n FROM counted WHERE n = 3 FOR KEY SHARE; COMMIT;
ROLLBACK PREPARED 'walbrook updated';

-- Two-phase commits that drop and make.
CREATE TABLE dropped_late AS SELECT 1 AS n;
BEGIN; DROP TABLE dropped_late; CREATE TABLE made_late (n int); SAVEPOINT s; INSERT INTO made_late VALUES (1);
PREPARE TRANSACTION 'walbrook dropping';
COMMIT PREPARED 'walbrook dropping';

-- Subtransactions, as many as make the server tell of them early.
DO $$ BEGIN FOR i IN 2001..2200 LOOP
    BEGIN INSERT INTO churn VALUES (i, 'sub'); EXCEPTION WHEN unique_violation THEN NULL; END;
END LOOP; END $$;

-- Long rows and large objects.
CREATE TABLE toasted (n int PRIMARY KEY, s text);
ALTER TABLE toasted ALTER s SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT n, repeat('long', 5000) FROM generate_series(1, 20) AS n;
UPDATE toasted SET s = s || 'er' WHERE n % 2 = 0;
DELETE FROM toasted WHERE n % 3 = 0;
SELECT lo_from_bytea(4711, convert_to(repeat('object', 10000), 'UTF8'));
SELECT lo_put(4711, 100, '\x00ff');
SELECT lo_unlink(4711);

-- Sequences, truncations, catalogs, settings.
CREATE SEQUENCE counting; SELECT nextval('counting'); SELECT setval('counting', 1000);
CREATE TABLE serial_table (n serial PRIMARY KEY, s text);
INSERT INTO serial_table (s) SELECT 'x' FROM generate_series(1, 100);
CREATE TABLE referring (n int REFERENCES serial_table);
TRUNCATE serial_table RESTART IDENTITY CASCADE;
CREATE TABLE shrinking (n int) WITH (autovacuum_enabled = off);
INSERT INTO shrinking SELECT generate_series(1, 5000);
VACUUM shrinking;
DELETE FROM shrinking;
VACUUM shrinking;
BEGIN; CREATE TABLE short_lived (n int); INSERT INTO short_lived VALUES (1); TRUNCATE short_lived; COMMIT;
CREATE UNLOGGED TABLE unlogged (n int PRIMARY KEY);
INSERT INTO unlogged VALUES (1);
ALTER TABLE unlogged SET LOGGED;
CREATE MATERIALIZED VIEW materialized AS SELECT n FROM counted;
REFRESH MATERIALIZED VIEW materialized;
ALTER TABLE churn ADD COLUMN extra int DEFAULT 7;
ALTER TABLE churn ALTER n TYPE bigint;
SELECT pg_create_logical_replication_slot('walbrook', 'pgoutput');
ALTER TABLE churn ADD COLUMN more int;
ALTER TABLE churn DROP COLUMN more;
VACUUM FULL pg_class;
SELECT pg_drop_replication_slot('walbrook');
REINDEX TABLE pg_class;
ANALYZE;

-- Replication origins and messages.
SELECT pg_replication_origin_create('walbrook origin');
SELECT pg_replication_origin_advance('walbrook origin', '0/1234');
SELECT pg_replication_origin_session_setup('walbrook origin');
BEGIN; SELECT pg_replication_origin_xact_setup('0/5678', '2026-01-02 03:04:05+00');
INSERT INTO churn VALUES (90001, 'from elsewhere'); COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_drop('walbrook origin');
SELECT pg_logical_emit_message(true, 'walbrook', 'a message');

-- Databases and tablespaces.
CREATE TABLESPACE side LOCATION :'side';
CREATE TABLE aside (n int PRIMARY KEY) TABLESPACE side;
INSERT INTO aside SELECT generate_series(1, 1000);
ALTER TABLE aside SET TABLESPACE pg_default;
ALTER TABLE churn SET TABLESPACE side;
ALTER INDEX aside_pkey SET TABLESPACE pg_default;
CREATE DATABASE copied STRATEGY file_copy;
CREATE DATABASE logged STRATEGY wal_log;
ALTER DATABASE copied SET TABLESPACE side;
DROP DATABASE copied;
ALTER DATABASE logged RENAME TO renamed;
DROP DATABASE renamed;
ALTER TABLE churn SET TABLESPACE pg_default;
DROP TABLESPACE side;

-- The log itself.
SELECT pg_create_restore_point('a point of the workload');
ALTER SYSTEM SET full_page_writes = off; SELECT pg_reload_conf(); CHECKPOINT;
ALTER SYSTEM RESET full_page_writes; SELECT pg_reload_conf(); CHECKPOINT;
SELECT pg_backup_start('walbrook', true) \; SELECT 1 FROM pg_backup_stop(false);
-- Only hints change, but the page had none since the checkpoint.
CREATE TABLE hinted (n int) WITH (autovacuum_enabled = off);
INSERT INTO hinted SELECT generate_series(1, 1000);
CHECKPOINT;
SELECT count(*) FROM hinted;
