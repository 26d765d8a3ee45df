//! The instruction sets that kernels are written for. An [`Isa`] can only be made by detecting it, so holding one is
//! the proof that its instructions may be executed.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set that this machine was seen to have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(pub(super) Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Scalar,
    /// AVX2 with FMA and F16C (Haswell, Zen).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-VNNI besides (Alder Lake, Zen 5): integer products of bytes.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 F, BW, DQ and VL, besides all of AVX2 (Skylake-X, Zen 4).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 VNNI besides (Ice Lake, Zen 4).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX-512 BF16 besides (Zen 4, Sapphire Rapids): products of numbers in BF16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// Part of every 64-bit Arm.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// With integer products of bytes (Cortex-A76, Apple M1).
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
}

impl Default for Isa {
    /// The widest.
    fn default() -> Self {
        Self::widest()
    }
}

impl Isa {
    /// Plain Rust, on every machine.
    pub const SCALAR: Self = Self(Level::Scalar);

    /// The widest instruction set of this machine; detected on the first call.
    #[must_use]
    pub fn widest() -> Self {
        static WIDEST: OnceLock<Isa> = OnceLock::new();
        *WIDEST.get_or_init(|| {
            let widest = *Self::available().last().unwrap_or(&Self::SCALAR);
            tracing::debug!(isa = %widest, "CPU kernels");
            widest
        })
    }

    /// Every instruction set that this machine gains by, narrowest first: what tests compare with each other.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::detected()
            .into_iter()
            .filter(|isa| !isa.multiplies_bf16() || starts_a_bf16_product_each_cycle())
            .collect()
    }

    /// That with products of numbers in BF16, if this machine has it: [available](Self::available) only where these are
    /// faster than in single precision.
    #[must_use]
    pub fn with_bf16() -> Option<Self> {
        Self::detected().into_iter().find(|isa| isa.multiplies_bf16())
    }

    /// Whether it has products of numbers in BF16: [`Numerics::Fast`](crate::cpu::Numerics::Fast) rounds activations to BF16
    /// there where weights are in it.
    #[must_use]
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Level::Avx512Bf16;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Every instruction set that this machine can run, narrowest first.
    fn detected() -> Vec<Self> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_mut))]
        let mut found = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            let vnni = avx512 && has!("avx512vnni");
            let levels = [
                (Level::Avx2, avx2),
                (Level::AvxVnni, avx2 && has!("avxvnni")),
                (Level::Avx512, avx512),
                (Level::Avx512Vnni, vnni),
                (Level::Avx512Bf16, vnni && has!("avx512bf16")),
            ];
            found.extend(levels.into_iter().filter(|&(_, has)| has).map(|(level, _)| Self(level)));
        }
        #[cfg(target_arch = "aarch64")]
        {
            found.push(Self(Level::Neon));
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                found.push(Self(Level::NeonDotprod));
            }
        }
        found
    }
}

/// Whether an instruction of AVX-512 BF16, which does the work of two fused multiply-adds, can start in every cycle, as AMD's
/// cores have it. Intel's start one every other cycle, and two fused multiply-adds in each (measured on Emerald Rapids):
/// single precision is twice as fast there.
fn starts_a_bf16_product_each_cycle() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let maker = std::arch::x86_64::__cpuid(0);
        [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "AVX2+FMA+F16C",
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "AVX-512 VNNI+BF16",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "NEON",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotprod => "NEON+dotprod",
        })
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
