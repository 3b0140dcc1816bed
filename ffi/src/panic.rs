//! What a no_std staticlib has to have. Nothing reaches it: a test fails when a linked image holds `waft_panic`.

/// Stops. It stands apart, not inlined, so that a reachable panic shows as a symbol of the linked image.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn waft_panic() -> ! {
    #[cfg(target_arch = "arm")]
    // SAFETY: an undefined instruction traps; it touches no memory.
    unsafe {
        core::arch::asm!("udf #0", options(nomem, nostack, noreturn))
    }
    #[cfg(not(target_arch = "arm"))]
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    waft_panic()
}
