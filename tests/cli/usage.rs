//! What is refused before any work.

use crate::failure;

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["generate", "--no-such-flag"][..],
        &["generate", "a", "-t", "0"],
        &["generate", "a", "-t", "5000"],
        &["generate", "a", "-n", "-3"],
        &["generate", "a", "-n", "1.5"],
        &["generate", "a", "-s", "-2"],
        &["generate", "a", "-c", "-1"],
        &["generate", "a", "-p", "b"],
        &["generate", "-p", "a", "-f", "b"],
        &["generate", "-p", "a", "--prompt-ids", "1"],
        &["generate", "-x"],
        &["generate", "a", "--temp", "nan"],
        &["generate", "a", "-n", "many"],
        &["generate", "a", "--prompt-ids", "1"],
        &["generate", "--prompt-ids", "1,x"],
        &["generate", "a", "--system", "b"],
        &["generate", "a", "--messages", "b"],
        &["generate", "-p", "a", "--messages", "b"],
        &["generate", "-f", "a", "--messages", "b"],
        &["generate", "--prompt-ids", "1", "--messages", "b"],
        &["generate", "--chat", "--messages", "b"],
        &["generate", "--messages"],
        &["generate", "a", "--think"],
        &["generate", "a", "--no-think"],
        &["generate", "--chat", "a", "--think", "--no-think"],
        &["generate", "a", "--template-arg", "b=1"],
        &["generate", "--prompt-ids", "1", "--template-arg", "b=1"],
        &["generate", "--chat", "a", "--template-arg", "b"],
        &["generate", "--chat", "a", "--template-arg", "=b"],
        &["generate", "a", "--backend", "tpu"],
        &["generate", "a", "--backend", "gpu:"],
        &["bench", "--backend", "cpu:x"],
        &["generate", "a", "--cache-type", "f64"],
        &["chat", "--cache-type"],
        &["bench", "--cache-type", "q8_0"],
        &["perplexity", "--ids", "x", "--compare-cache-type", "f32"],
        &["inspect", "x", "--cache-type", "bf16"],
        &["perplexity", "--ids", "x", "--backend", ""],
        &["generate", "a", "--temp", "warm"],
        &["bench", "--random"],
        &["bench", "--config", "x.json"],
        &["bench", "-p", "0", "-n", "0"],
        &["bench", "-r", "0"],
        &["no-such-command"],
        &[],
    ] {
        failure(arguments, 2);
    }
}

#[test]
fn a_setting_out_of_range_or_a_place_that_cannot_be_written_is_an_error_before_any_work() {
    let message = failure(&["generate", "a", "--top-p", "1.5"], 2);
    assert!(message.contains("top_p is 1.5: expected a number from 0 to 1"), "{message}");
    let message = failure(&["generate", "a", "--temp", "-1"], 2);
    assert!(message.contains("temperature is -1: expected a finite number, at least 0"), "{message}");
    let message = failure(&["generate", "a", "--logits", "no/such/folder/logits"], 1);
    assert!(message.contains("cannot write no/such/folder/logits"), "{message}");
    let message = failure(&["generate", "a", "--trace", "tests"], 1);
    assert!(message.contains("cannot write tests: it is a directory"), "{message}");
    let message = failure(&["generate", "a", "-m", "no/such/model"], 1);
    assert!(message.starts_with("error: no/such/model: cannot open: "), "{message}");
    assert_eq!(message.matches("os error").count(), 1, "the cause is said once: {message}");
}

#[test]
fn a_backend_that_there_is_none_of_is_refused_with_those_there_are() {
    let message = failure(&["generate", "a", "--backend", "cuda"], 2);
    assert!(
        message.contains("expected auto, cpu, gpu, or gpu:NAME") && message.contains(r#"found "cuda""#),
        "{message}"
    );
}

#[cfg(not(feature = "gpu"))]
#[test]
fn a_program_without_the_gpu_backend_says_so() {
    for name in ["gpu", "gpu:llvmpipe"] {
        let message = failure(&["generate", "a", "--backend", name], 2);
        assert!(message.contains("built without the GPU backend: expected auto or cpu, found gpu"), "{message}");
    }
}
