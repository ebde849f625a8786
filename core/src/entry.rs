//! The byte format of a log entry's payload, of the gateways' parcels in it, and of the requests in those.
//! Frozen once shipped (rule 11 of CONTRIBUTING.md). All integers are little-endian.
//!
//! ```text
//! entry    = version u8 (1) · time u64 · seed u64 · op*
//! op       = length u32 (of what follows) · kind u8 · body
//!   1 bootstrap  cluster id u128 · hash key u64 u64
//!   2 register   node u64 · incarnation u64
//!   3 retire     node u64 · incarnation u64
//!   4 tick       (empty)
//!   5 parcel     node u64 · incarnation u64 · sequence u64 · part u8 (0 whole, 1 more follows, 2 last) · bytes
//! batch    = request*                              (the bytes of a whole parcel, or of all its parts joined)
//! request  = length u32 (of what follows) · kind u8 · client u64 · latest u64 · body
//!   1 command      call
//!   2 transaction  watch count u32 · watch* · call count u32 · call*
//! watch    = db u8 · present u8 · revision u64 · key length u32 · key
//! call     = db u8 · argument count u32 · (length u32 · bytes)*
//! ```
//!
//! Decoding borrows, never allocates more than the input holds, and never panics. Tests: `tests/laws.rs`, `fuzz`.
