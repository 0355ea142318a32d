//! How large each message may be. A reader refuses what is larger before it allocates for it.

/// Bytes of one `BeginRequest`: four EK certificates with their chains (each below 4 KiB in the field) and publics.
pub const BEGIN_BYTES_MAX: usize = 64 << 10;
/// Identity materials in one `BeginRequest`: the largest composite has three items.
pub const MATERIALS_MAX: usize = 4;
/// Bytes of one chunk of evidence.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Bytes of one `CompleteRequest` message: a chunk, or the header with seal and CSR.
pub const COMPLETE_MESSAGE_BYTES_MAX: usize = CHUNK_BYTES_MAX + (16 << 10);
/// Bytes of one evidence item: a firmware log of 1 MiB, the largest kernel buffer seen, and what goes with it.
pub const EVIDENCE_ITEM_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Bytes of a list of measured files in one answer: some 250,000 entries. A list that is longer before its first
/// attestation is not judged.
pub const MEASURED_FILES_BYTES_MAX: usize = 32 << 20;
/// Bytes of a sealed challenge.
pub const SEAL_BYTES_MAX: usize = 8 << 10;
/// Bytes of a certificate signing request.
pub const CSR_BYTES_MAX: usize = 8 << 10;
/// Requests in one `SignX509SvidsRequest`.
pub const SVID_REQUESTS_MAX: usize = 64;
/// Entries in one `SyncResponse`; larger states come in several messages.
pub const SYNC_ENTRIES_MAX: usize = 500;
/// Bytes of entries in one `SyncResponse`, whose other parts have as much again: one entry may have 30 kB of texts.
pub const SYNC_ENTRIES_BYTES_MAX: usize = 2 << 20;
/// Bytes of foreign bundles in one `SyncResponse`; more come in several messages. One bundle has a tenth of it at most.
pub const FOREIGN_BUNDLES_BYTES_MAX: usize = 2 << 20;
/// Bytes of one revocation list: 20,000 serial numbers of 40 to 55 bytes.
pub const REVOCATION_LIST_BYTES_MAX: usize = 3 << 19;
/// Revocation lists that an agent keeps: two roots, and the intermediates of a dozen servers in rotation.
pub const REVOCATION_LISTS_MAX: usize = 64;
