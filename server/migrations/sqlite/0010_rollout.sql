-- What a machine cannot choose, apart from the selectors that a policy issues: by this rollouts tell machines apart.
ALTER TABLE nodes ADD COLUMN fixed TEXT NOT NULL DEFAULT '[]';

-- Until now it was told by what was issued. Scopes that stand go on as they are, for the machines that they name now.
UPDATE nodes SET fixed = (
    SELECT json_group_array(value) FROM json_each(nodes.selectors)
    WHERE value LIKE 'tpm:machine:%' OR value LIKE 'tpm:class:%' OR value LIKE 'tpm:manufacturer:%'
        OR value LIKE 'tpm:model:%' OR value LIKE 'tpm:version:%' OR value LIKE 'tpm:root:%' OR value LIKE 'tpm:ek:%'
        OR value LIKE 'tpm:ek\_certificate:%' ESCAPE '\' OR value LIKE 'snp:class:%' OR value LIKE 'snp:product:%'
        OR value LIKE 'snp:root:%' OR value LIKE 'snp:csp\_id:%' ESCAPE '\' OR value LIKE 'tdx:class:%'
        OR value LIKE 'tdx:fmspc:%' OR value LIKE 'nitro:class:%' OR value LIKE 'nitro:region:%'
        OR value LIKE 'nitrotpm:%' OR value LIKE 'azure:class:%' OR value LIKE 'azure:instance:%' OR value LIKE 'gcp:class:%'
        OR value LIKE 'gcp:instance\_id:%' ESCAPE '\' OR value LIKE 'gcp:project\_%' ESCAPE '\'
);

-- What a proposal is about, in words, so that a list need not read what may be as large as a policy.
ALTER TABLE proposals ADD COLUMN what TEXT NOT NULL DEFAULT 'a change that an earlier version of the server proposed';
UPDATE proposals SET what = CASE
    WHEN json_valid(content) AND json_type(content, '$.change.apply') IS NOT NULL
        THEN 'apply a new version of ' || json_extract(content, '$.change.apply.name')
    WHEN json_valid(content) AND json_type(content, '$.change.promote') IS NOT NULL
        THEN 'enforce version ' || substr(json_extract(content, '$.change.promote.version'), 1, 12)
    ELSE what
END;
