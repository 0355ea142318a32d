//! Who is at the other end of a Unix socket: selectors of a workload, by the kernel's word.
