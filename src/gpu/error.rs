//! Why there is no GPU to compute on.

use super::context::DeviceError;

/// Why a model cannot be computed on a GPU.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// Keys and values were to be kept in half precision.
    #[error(
        "a graphics card keeps keys and values in f32: expected f32 or nothing as the type of its cache, found f16"
    )]
    CacheType,
    /// No driver offers an adapter.
    #[error("there is no graphics adapter: expected one that Vulkan, Metal or DirectX 12 can reach, found none")]
    NoAdapter,
    /// There are only adapters that compute on the processor, which is better done without them.
    #[error("there is no graphics card: expected one, found only software, which is used where it is named: {}", found.join(", "))]
    OnlySoftware {
        /// Those there are.
        found: Vec<String>,
    },
    /// No adapter has this name.
    #[error("no graphics adapter is called {asked:?}: expected a part of one of these names, found none: {}", found.join(", "))]
    NotNamed {
        /// The part of a name that was asked for.
        asked: String,
        /// The adapters there are.
        found: Vec<String>,
    },
    /// Several adapters have it.
    #[error("{asked:?} may be several graphics adapters: expected a part of one name only, found it in {}", found.join(", "))]
    Ambiguous {
        /// The part of a name that was asked for.
        asked: String,
        /// The adapters that have it.
        found: Vec<String>,
    },
    /// The shaders would not run on it.
    #[error("{adapter}: {limit}")]
    TooSmall {
        /// The adapter.
        adapter: String,
        /// The limit, with what was expected and found.
        limit: String,
    },
    /// Its driver did not open it.
    #[error("{adapter}: expected that its driver opens a device")]
    Open {
        /// The adapter.
        adapter: String,
        /// What the driver said.
        source: wgpu::RequestDeviceError,
    },
    /// It cannot take the model.
    #[error(transparent)]
    Device(#[from] DeviceError),
}
