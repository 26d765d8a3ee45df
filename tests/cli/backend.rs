//! What computes, and what is said of it.

use crate::{json_lines, loquent, stderr, stdout};

const ASKED: [&str; 6] = ["generate", "Once", "-n", "4", "--temp", "0"];

#[test]
fn a_cpu_that_is_asked_for_needs_no_words() {
    let output = loquent(&[&ASKED[..], &["--backend", "cpu", "--json"]].concat()).output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(json_lines(&stdout(&output)).last().unwrap()["backend"], "cpu");
}

#[cfg(all(feature = "gpu", target_os = "linux"))]
#[test]
fn without_a_driver_auto_takes_the_cpu_and_says_why_and_gpu_fails() {
    let run = |backend: &str| {
        let mut command = loquent(&[&ASKED[..], &["--backend", backend]].concat());
        command.env("VK_DRIVER_FILES", "/nothing/here").env("VK_ICD_FILENAMES", "/nothing/here").output().unwrap()
    };
    let output = run("auto");
    assert!(output.status.success());
    assert!(stderr(&output).contains("computing on the CPU: there is no graphics adapter"), "{}", stderr(&output));
    let output = run("gpu");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no graphics adapter: expected one"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[cfg(feature = "gpu")]
#[test]
fn a_graphics_card_refuses_a_cache_in_half_precision() {
    for backend in ["gpu", "gpu:no such card"] {
        let message = crate::failure(&[&ASKED[..], &["--backend", backend, "--cache-type", "f16"]].concat(), 1);
        assert!(message.contains("a graphics card keeps keys and values in f32"), "{message}");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_name_that_no_adapter_has_is_refused() {
    let message = crate::failure(&[&ASKED[..], &["--backend", "gpu:no such card"]].concat(), 1);
    assert!(
        message.contains("no graphics adapter is called") || message.contains("there is no graphics adapter"),
        "{message}"
    );
}

/// The adapter in software that the checks of the project install.
#[cfg(all(feature = "gpu", target_os = "linux"))]
#[test]
fn a_software_adapter_is_used_where_it_is_named_and_writes_the_same() {
    let output = loquent(&[&ASKED[..], &["--backend", "gpu:llvmpipe", "--json"]].concat()).output().unwrap();
    if !output.status.success() {
        assert!(std::env::var_os("LOQUENT_REQUIRE_GPU").is_none(), "{}", stderr(&output));
        eprintln!("skipped: there is no llvmpipe");
        return;
    }
    assert!(stderr(&output).contains("computing on llvmpipe"), "{}", stderr(&output));
    let lines = json_lines(&stdout(&output));
    let on_cpu = loquent(&[&ASKED[..], &["--backend", "cpu", "--exact", "--json"]].concat()).output().unwrap();
    let on_cpu = json_lines(&stdout(&on_cpu));
    assert_eq!(lines[..4], on_cpu[..4]);
    assert_eq!(lines.last().unwrap()["backend"], "gpu");
}
