//! The `loquent` binary.
#![deny(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    #[cfg(feature = "gpu")]
    quiet_the_loader();
    cli::main()
}

/// Mesa's Vulkan layer that reorders devices writes an error of its own to stderr where there is no session of a desktop. We
/// put devices in order ourselves: its own switch turns it off.
#[cfg(feature = "gpu")]
#[expect(
    unsafe_code,
    reason = "the environment is how the layer is told, and it is read as soon as adapters are listed"
)]
fn quiet_the_loader() {
    const SWITCH: &str = "NODEVICE_SELECT";
    if std::env::var_os(SWITCH).is_none() {
        // SAFETY: this is the first thing that the program does: there are no other threads that could read the environment.
        unsafe { std::env::set_var(SWITCH, "1") };
    }
}
