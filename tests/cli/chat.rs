//! Conversations, typed by a pipe.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::{failure, fixture, json_lines, loquent, model_with_template, stderr, stdout, success};

/// What comes of typing this.
fn chat(arguments: &[&str], typed: &str) -> Output {
    let mut command = loquent(&[&["chat"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().expect("stdin").write_all(typed.as_bytes()).expect("it listens");
    child.wait_with_output().expect("it ends")
}

/// The answers of a conversation in which nothing fails, and each word of which is the likeliest.
fn answers(arguments: &[&str], typed: &str) -> Vec<Value> {
    let output = chat(&[&["--json", "-n", "12", "--temp", "0"], arguments].concat(), typed);
    assert!(output.status.success(), "{typed}: {}", stderr(&output));
    json_lines(&stdout(&output))
}

fn texts(typed: &str) -> Vec<String> {
    answers(&[], typed).iter().map(|answer| answer["text"].as_str().expect("a text").to_owned()).collect()
}

/// What a conversation is saved as.
fn saved(arguments: &[&str], typed: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved.json");
    answers(arguments, &format!("{typed}/save {}\n", file.display()));
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary file is left");
    serde_json::from_slice(&fs::read(&file).expect("it was saved")).expect("JSON")
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// A file with this in it, in a folder of its own.
fn file(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("messages.json");
    fs::write(&file, content).expect("a file");
    let name = file.to_str().expect("a path").to_owned();
    (folder, name)
}

#[test]
fn every_line_is_answered_with_all_before_it_in_mind_and_nothing_is_read_twice() {
    let turns = answers(&[], "Tell me of a cat.\n\nAnd then?\nWhy?");
    assert_eq!(turns.len(), 3);
    let number = |turn: &Value, field| turn[field].as_u64().expect("a number");
    for pair in turns.windows(2) {
        // The last token of an answer is read with what follows it.
        let before = number(&pair[0], "prompt_tokens") + number(&pair[0], "new_tokens") - 1;
        assert_eq!(number(&pair[1], "cached_tokens"), before, "{}", pair[1]);
    }
    let said = |turn: usize| turns[turn]["text"].as_str().expect("a text");
    let all = [user("Tell me of a cat."), assistant(said(0)), user("And then?"), assistant(said(1)), user("Why?")];
    let (_folder, name) = file(&json!(all).to_string());
    let anew = success(&["generate", "--messages", &name, "-n", "12", "--temp", "0"]);
    assert_eq!(anew, format!("{}\n", said(2)));
    assert_eq!(turns[0]["event"], "answer");
    assert_eq!(turns[0]["finish_reason"], "length");
}

#[test]
fn answers_are_all_there_is_on_stdout() {
    let output =
        chat(&["-n", "12", "--temp", "0"], "Tell me of a cat.\n/stats\n/help\n/retry\n/system\nWhy?\n/quit\nNo.\n");
    assert_eq!(output.status.code(), Some(0));
    let [first, second] = &texts("Tell me of a cat.\nWhy?")[..] else { panic!("two answers") };
    assert_eq!(stdout(&output), format!("{first}\n{first}\n{second}\n"));
    let log = stderr(&output);
    for said in ["context: ", " of 2048 tokens", "/retry", "there is no system message", "cut off after 12 tokens: -n"]
    {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    assert!(!log.contains('\x1b') && !log.contains("> "), "{log}");
}

#[test]
fn a_turn_is_asked_again_with_other_random_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved.json");
    let typed = format!("Tell me of a cat.\n/retry\n/save {}\n/retry\n", file.display());
    let arguments = ["-n", "20", "-s", "3", "--temp", "1"];
    let output = chat(&arguments, &typed.replace("/retry", "/retry  "));
    let text = stdout(&output);
    let again = stdout(&chat(&arguments, &typed));
    assert_eq!(text, again, "the same seed gives the same answers");
    let json = json_lines(&stdout(&chat(&[&arguments[..], &["--json"]].concat(), &typed)));
    assert!(json[0]["text"] != json[1]["text"] && json[1]["text"] != json[2]["text"], "{json:?}");
    let saved: Value = serde_json::from_slice(&fs::read(&file).expect("it was saved")).expect("JSON");
    let answer = json[1]["text"].as_str().expect("text");
    assert_eq!(saved["messages"], json!([user("Tell me of a cat."), assistant(answer)]));
}

#[test]
fn a_message_may_be_changed() {
    let edited = texts("Tell me of a cat.\nAnd then?\n/edit Why?\nWho?");
    let straight = texts("Tell me of a cat.\nWhy?\nWho?");
    assert_eq!((&edited[0], &edited[2..]), (&straight[0], &straight[1..]));
    let output = chat(&["-n", "5"], "/edit Why?\n/retry\nHi\n/edit\n");
    let log = stderr(&output);
    assert_eq!(log.matches("error: nothing was asked yet").count(), 2, "{log}");
    assert!(log.contains("error: /edit needs a text where nobody types"), "{log}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_system_message_begins_a_conversation() {
    let given = saved(&["--system", "Be brief."], "Hello\n");
    let set = saved(&[], "Tell me of a cat.\n/system Be brief.\nHello\n");
    assert_eq!(given, set);
    assert_eq!(given["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(saved(&["--system", "Be brief."], "Why?\n/clear\nHello\n"), given);
    let output = chat(&["--system", "Be brief."], "/system\n");
    assert!(stderr(&output).contains("Be brief."), "{}", stderr(&output));
}

#[test]
fn what_is_saved_is_gone_on_with() {
    let (_folder, name) = file(&saved(&["--system", "Be brief."], "Tell me of a cat.\n").to_string());
    let expected = answers(&["--system", "Be brief."], "Tell me of a cat.\nAnd then?")[1]["text"].clone();
    assert_eq!(answers(&["--messages", &name], "And then?")[0]["text"], expected);
    assert_eq!(answers(&[], &format!("Why?\n/load {name}\nAnd then?"))[1]["text"], expected);
    assert_eq!(saved(&["--messages", &name], ""), saved(&["--system", "Be brief."], "Tell me of a cat.\n"));
    // A turn that was loaded is a turn.
    let again = answers(&["--messages", &name], "/retry");
    assert_eq!(again.len(), 1);
}

#[test]
fn a_conversation_that_waits_for_an_answer_gets_one_and_keeps_its_tools() {
    let tools = json!([{"type": "function", "function": {"name": "clock"}}]);
    let call = json!([{"id": "c", "type": "function", "function": {"name": "clock", "arguments": {}}}]);
    let asked = json!([
        user("How late is it?"),
        {"role": "assistant", "content": "", "tool_calls": call},
        {"role": "tool", "content": "9:00", "tool_call_id": "c"},
    ]);
    let (_folder, name) = file(&json!({"messages": asked, "tools": tools}).to_string());
    let saved = saved(&["--messages", &name], "");
    assert_eq!(saved["tools"], tools);
    let messages = saved["messages"].as_array().expect("messages");
    assert_eq!((messages.len(), &messages[..3]), (4, &asked.as_array().expect("three")[..]));
    let (_folder, name) = file(&saved.to_string());
    assert_eq!(answers(&["--messages", &name], "/retry\nWhy?").len(), 2);
}

#[test]
fn what_cannot_be_done_is_said_and_the_conversation_goes_on() {
    let (_folder, wrong) = file(r#"[{"role": "bot", "content": "b"}]"#);
    let typed = format!(
        "/foo bar\nHello\n/load no/such/file\n/load {wrong}\n/save no/such/folder/x\n/save\n/retry now\nWhy?\n"
    );
    let output = chat(&["-n", "12", "--temp", "0"], &typed);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), texts("Hello\nWhy?").join("\n") + "\n");
    for said in [
        "error: there is no command /foo: /help lists them",
        "error: cannot read no/such/file: ",
        r#"messages[0].role is "bot""#,
        "error: cannot write no/such/folder/x: ",
        "error: /save needs the name of a file",
        "error: /retry takes nothing after it",
    ] {
        assert!(stderr(&output).contains(said), "{said} is not in {}", stderr(&output));
    }
    let nothing = chat(&[], "/save x\n");
    assert!(stderr(&nothing).contains("error: there is nothing to save yet"), "{}", stderr(&nothing));
    assert_eq!(json_lines(&stdout(&chat(&["--json"], "/foo\n")))[0]["event"], "error");
}

#[test]
fn messages_may_have_several_lines_or_begin_with_a_slash() {
    let saved = saved(&[], "one\\\ntwo\n\"\"\"\n/three\n\nfour\n\"\"\"\n//five\n");
    let asked: Vec<_> = [0, 2, 4].map(|index| saved["messages"][index]["content"].clone()).into();
    assert_eq!(asked, ["one\ntwo", "/three\n\nfour", "/five"]);
}

#[test]
fn a_full_context_forgets_the_first_turns_or_refuses_what_is_too_much() {
    let typed = "Tell me of a cat.\nAnd then?\nWho was there with it?\nWhy?\n";
    let arguments = ["-c", "90", "-n", "20", "--temp", "0", "--json"];
    let output = chat(&arguments, typed);
    assert!(output.status.success(), "{}", stderr(&output));
    let turns = json_lines(&stdout(&output));
    assert_eq!(turns.len(), 4);
    assert!(turns.iter().any(|turn| turn["forgotten_turns"].as_u64() > Some(0)), "{turns:?}");
    assert!(stderr(&output).contains("[the context was full, and "), "{}", stderr(&output));

    let output = chat(&[&arguments[..], &["--no-forget"]].concat(), typed);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error: the prompt leaves no room for a new token"), "{}", stderr(&output));
    let lines = json_lines(&stdout(&output));
    assert_eq!((lines.len(), &lines[3]["event"]), (4, &"error".into()));
}

#[test]
fn what_is_refused_leaves_the_conversation_as_it_was() {
    let long = "word ".repeat(200);
    for arguments in [&[][..], &["--no-forget"]] {
        let arguments = [&["-c", "100", "-n", "12", "--temp", "0"], arguments].concat();
        let output = chat(&arguments, &format!("Tell me of a cat.\n{long}\n/edit {long}\nWhy?\n"));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output).matches("error: the prompt leaves no room").count(), 2, "{}", stderr(&output));
        assert_eq!(stdout(&output), texts("Tell me of a cat.\nWhy?").join("\n") + "\n");
    }
}

#[test]
fn thoughts_are_part_of_the_text_and_apart_in_json() {
    const THINKS: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}\
        <|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}";
    let model = model_with_template("assets/demo-q4", THINKS);
    let arguments = ["-m", model.path().to_str().expect("a path"), "-n", "12", "--temp", "0", "--think"];
    let text = stdout(&chat(&arguments, "Hello\n"));
    let answer = json_lines(&stdout(&chat(&[&arguments[..], &["--json"]].concat(), "Hello\n"))).remove(0);
    assert_eq!((&answer["text"], &answer["thinking"]), (&"".into(), &text.trim().into()));
    assert!(!text.trim().is_empty() && !text.contains('\x1b'), "{text:?}");
    let answer = json_lines(&stdout(&chat(&[&arguments[..6], &["--json"]].concat(), "Hello\n"))).remove(0);
    assert_eq!(answer.get("thinking"), None);
    assert!(!answer["text"].as_str().expect("a text").is_empty());
}

#[test]
fn the_template_is_told_what_the_command_line_says() {
    let model = model_with_template("assets/demo-q4", "{{ raise_exception('said ' ~ [a, enable_thinking]) }}");
    let model = model.path().to_str().expect("a path").to_owned();
    let output = chat(&["-m", &model, "--template-arg", "a=1", "--think"], "Hello\n");
    assert!(stderr(&output).contains("said [1, True]"), "{}", stderr(&output));
}

#[test]
fn what_a_chat_needs_is_asked_for_before_anything_is_typed() {
    let message = failure(&["chat", "-m", &fixture("tied-bf16")], 1);
    assert!(message.contains("a chat needs a tokenizer, and the model has none: expected tokenizer.json"), "{message}");
    let model = model_with_template("assets/demo-q4", "");
    fs::remove_file(model.path().join("chat_template.jinja")).expect("it was there");
    let message = failure(&["chat", "-m", model.path().to_str().expect("a path")], 1);
    assert!(message.contains("a chat needs a chat template, and the model has none"), "{message}");
    let message = failure(&["chat", "--messages", "no/such/file"], 1);
    assert!(message.contains("cannot read no/such/file: "), "{message}");
    for arguments in [&["chat", "--messages", "-"][..], &["chat", "--top-p", "2"], &["chat", "Hello"]] {
        failure(arguments, 2);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_chat_that_nobody_types() {
    use std::io::Read;
    let mut command = loquent(&["chat", "-n", "100000", "--stop", "never", "--temp", "2", "-s", "1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"Tell me of a cat.\nWhy?\n").expect("it listens");
    let mut out = child.stdout.take().expect("stdout");
    out.read_exact(&mut [0; 20]).expect("an answer");
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill").success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("what is left");
    assert!(rest.ends_with('\n') && child.wait().expect("it ends").code() == Some(130), "{rest:?}");
    drop(stdin);
}
