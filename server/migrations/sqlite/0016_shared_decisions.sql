-- When the evidence of an attempt ends stands with the attempt, so that the texts of equal decisions are equal, and kept
-- once. NULL in rows of before: there the decision's text says it.
ALTER TABLE attempts ADD COLUMN evidence_expires INTEGER;

-- Texts of decisions stand in the account of what is kept; those of before under a day of their own.
ALTER TABLE decisions ADD COLUMN day INTEGER NOT NULL DEFAULT 0;
INSERT INTO body_usage (day, kind, bodies, size, stored)
    SELECT 0, 'decision', COUNT(*), SUM(length(CAST(body AS BLOB))), SUM(length(CAST(body AS BLOB))) FROM decisions HAVING COUNT(*) > 0;
CREATE TRIGGER decision_kept AFTER INSERT ON decisions BEGIN
    INSERT INTO body_usage (day, kind, bodies, size, stored)
        VALUES (NEW.day, 'decision', 1, length(CAST(NEW.body AS BLOB)), length(CAST(NEW.body AS BLOB)))
        ON CONFLICT (day, kind) DO UPDATE SET bodies = bodies + 1, size = size + excluded.size,
            stored = stored + excluded.stored;
END;
CREATE TRIGGER decision_gone AFTER DELETE ON decisions BEGIN
    UPDATE body_usage SET bodies = bodies - 1, size = size - length(CAST(OLD.body AS BLOB)),
        stored = stored - length(CAST(OLD.body AS BLOB)) WHERE day = OLD.day AND kind = 'decision';
    DELETE FROM body_usage WHERE day = OLD.day AND kind = 'decision' AND bodies <= 0;
END;

-- Of each node the attempts whose manifests name the parts of its list of measured files since its first entry, in order:
-- so that the whole list can be judged by a policy that judged none of it.
CREATE TABLE list_parts (
    node INTEGER NOT NULL,
    place INTEGER NOT NULL,
    manifest BLOB NOT NULL,
    PRIMARY KEY (node, place)
) WITHOUT ROWID;
CREATE TRIGGER list_forgotten AFTER DELETE ON measured_files BEGIN
    DELETE FROM list_parts WHERE node = OLD.node;
END;
