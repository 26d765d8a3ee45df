//! The device that tests run on.

use std::sync::LazyLock;

use loquent::gpu::{GpuContext, adapters};

/// A device on the first adapter there is, software or not. Without one there is `None`, and the test says that it is
/// skipped; where `LOQUENT_REQUIRE_GPU` is set, it fails.
pub(crate) fn context() -> Option<GpuContext> {
    static CONTEXT: LazyLock<Option<GpuContext>> =
        LazyLock::new(|| Some(adapters().first()?.open().expect("the first adapter opens")));
    let context = CONTEXT.clone();
    if context.is_none() {
        assert!(std::env::var_os("LOQUENT_REQUIRE_GPU").is_none(), "LOQUENT_REQUIRE_GPU is set: expected an adapter");
        eprintln!("skipped: there is no graphics adapter");
    }
    context
}
