//! How the memory allocator of this process behaves.

/// Arenas of the daemon's heap. By default glibc makes up to eight for each processor, and none gives back what
/// its busiest moment took: `mallopt(3)`. A thousand builds with 200 listeners on two processors left 74 MiB
/// resident with the default and 46 MiB with one arena. Its threads wait for disks and for others far more often
/// than for each other's allocations.
const ARENAS: i32 = 2;

/// Keeps the heap of a process with many short threads together. To be called before there are threads.
pub fn keep_heap_small() {
    #[cfg(target_env = "gnu")]
    #[expect(
        unsafe_code,
        reason = "a C function; it takes two numbers and changes a setting of the allocator"
    )]
    // SAFETY: any two numbers may be given, and it takes the allocator's own lock.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    #[cfg(target_env = "gnu")]
    if taken == 0 {
        tracing::debug!(ARENAS, "the allocator does not take a number of arenas");
    }
}
