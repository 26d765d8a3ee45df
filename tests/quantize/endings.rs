//! What is left of runs that are stopped, or killed.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;

use loquent::convert::{Conversion, ConvertError, ConvertOptions};

use crate::tiny_checkpoint::TinyCheckpoint;
use crate::{content, convert, entries, place, replacing};

#[test]
fn a_stopped_run_leaves_nothing() {
    let tiny = TinyCheckpoint::new();
    let before = content(tiny.path());
    let (folder, out) = place();
    let total = tiny.tensors.len();
    for stop in [1, 7, total] {
        let mut calls = 0;
        let conversion = Conversion::plan(tiny.path(), &out, ConvertOptions::default()).unwrap();
        let result = conversion.run(|progress| {
            calls += 1;
            assert!(progress.done <= progress.total);
            let [hidden] = &entries(folder.path())[..] else { panic!("more than one directory") };
            assert!(hidden.starts_with(".out.partial-"), "{hidden}");
            if calls == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(ConvertError::Stopped)), "{result:?}");
        assert_eq!(calls, stop);
        assert!(entries(folder.path()).is_empty());
    }
    assert_eq!(content(tiny.path()), before);
}

#[test]
fn progress_ends_with_all_bytes() {
    let tiny = TinyCheckpoint::new();
    let (_folder, out) = place();
    let mut last = 0;
    let conversion = Conversion::plan(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let planned = conversion.report();
    let report = conversion.run(|progress| {
        assert!(progress.done > last && tiny.tensors.contains_key(progress.tensor));
        last = progress.done;
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    let bytes: usize = tiny.tensors.values().map(|tensor| tensor.bytes.len()).sum();
    assert_eq!(last, bytes as u64);
    assert_eq!(report.tensors.iter().map(|tensor| tensor.source_bytes).sum::<u64>(), last);
    // What was said before is what came, but for what only the weights can say.
    let mut told = report.tensors;
    told.iter_mut().for_each(|tensor| assert!(tensor.deviation.take().is_some()));
    assert_eq!(planned.tensors, told);
}

#[test]
fn a_destination_that_is_filled_meanwhile_is_not_overwritten() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    let conversion = Conversion::plan(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let result = conversion.run(|_| {
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("precious"), "yes").unwrap();
        ControlFlow::Continue(())
    });
    let message = result.unwrap_err().to_string();
    assert!(message.contains("precious"), "{message}");
    assert_eq!(entries(folder.path()), ["out"]);
    assert_eq!(entries(&out), ["precious"]);
}

/// A directory as a run makes it, with its lock.
fn partial(folder: &Path, name: &str) -> File {
    fs::create_dir(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("model_norm_weight.f16"), "half of it").unwrap();
    File::create(folder.join(name).join(".lock")).unwrap()
}

#[test]
fn what_killed_runs_left_is_removed_and_nothing_else() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    partial(folder.path(), ".out.partial-abc123");
    let held = partial(folder.path(), ".out.partial-inhand");
    held.lock().unwrap();
    for name in [".out2.partial-abc123", ".out.partial-abc12", ".out.partial-abc-12", ".out.partial-abc1234", "partial"]
    {
        partial(folder.path(), name);
    }
    fs::create_dir(folder.path().join(".out.partial-nolock")).unwrap();
    let mut expected = entries(folder.path());
    expected.retain(|name| name != ".out.partial-abc123");
    expected.push("out".into());
    expected.sort();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    assert_eq!(entries(folder.path()), expected);
    drop(held);
    expected.retain(|name| name != ".out.partial-inhand");
    convert(tiny.path(), &out, replacing()).unwrap();
    assert_eq!(entries(folder.path()), expected);
}

#[test]
fn what_a_killed_run_was_replacing_is_put_back() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    let aside = folder.path().join(".out.partial-abc123.old");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("precious"), "yes").unwrap();
    let message = convert(tiny.path(), &out, ConvertOptions::default()).unwrap_err().to_string();
    assert!(message.contains("precious"), "{message}");
    assert_eq!(entries(folder.path()), ["out"]);
    assert_eq!(entries(&out), ["precious"]);
    // Where the new one was in its place already, the old one is not needed any more.
    fs::create_dir(&aside).unwrap();
    convert(tiny.path(), &out, replacing()).unwrap();
    assert_eq!(entries(folder.path()), ["out"]);
    assert!(out.join("quantize_index.json").exists());
}

#[cfg(unix)]
#[test]
fn the_new_directory_has_the_permissions_of_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let usual = folder.path().join("usual");
    fs::create_dir(&usual).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&out), mode(&usual));
}
