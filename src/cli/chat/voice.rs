//! How answers are shown.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use super::thoughts::{self, Piece, Thoughts};
use super::turn::Turn;

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The text as it is.
    Plain,
    /// The text, with what is thought dimmed.
    Dimmed,
    /// A JSON object an answer.
    Json,
}

impl Form {
    /// What suits stdout.
    pub(super) fn of_stdout() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb { Self::Dimmed } else { Self::Plain }
    }
}

/// Stdout, flushed piece by piece.
pub(super) struct Voice<W = io::Stdout> {
    form: Form,
    thoughts: Thoughts,
    /// What there is of the answer.
    shown: Piece,
    out: W,
}

impl Voice {
    pub(super) fn new(form: Form) -> Self {
        Self::into(form, io::stdout())
    }
}

impl<W: Write> Voice<W> {
    fn into(form: Form, out: W) -> Self {
        Self { form, thoughts: Thoughts::new(false), shown: Piece::default(), out }
    }

    /// Begins an answer, whose prompt has it think first or does not.
    pub(super) fn begin(&mut self, thinks: bool) {
        self.thoughts = Thoughts::new(thinks);
        self.shown = Piece::default();
    }

    /// Goes on with it.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        let piece = self.thoughts.push(text);
        self.show(&piece)
    }

    /// Ends an answer, of which there is this to say.
    pub(super) fn end(&mut self, turn: &Turn, seed: u64) -> io::Result<()> {
        let rest = self.thoughts.finish();
        self.show(&rest)?;
        let Piece { thought, said } = std::mem::take(&mut self.shown);
        if self.form != Form::Json {
            return self.write("\n");
        }
        let mut answer = json!({"event": "answer", "text": said});
        if !thought.is_empty() {
            answer["text"] = said.trim_start().into();
            let thought = thought.trim_start().trim_start_matches(thoughts::BEGIN).trim_end_matches(thoughts::END);
            answer["thinking"] = thought.trim().into();
        }
        if let (Value::Object(answer), Value::Object(figures)) = (&mut answer, turn.json()) {
            answer.extend(figures);
        }
        answer["seed"] = seed.into();
        self.write(&format!("{answer}\n"))
    }

    /// Gives up the answer in hand, if there is one, for want of what the message says.
    pub(super) fn give_up(&mut self, message: &str) -> io::Result<()> {
        let has_begun = std::mem::take(&mut self.shown) != Piece::default();
        match self.form {
            Form::Json => self.write(&format!("{}\n", json!({"event": "error", "message": message}))),
            Form::Plain | Form::Dimmed if has_begun => self.write("\n"),
            Form::Plain | Form::Dimmed => Ok(()),
        }
    }

    fn show(&mut self, piece: &Piece) -> io::Result<()> {
        self.shown.thought += &piece.thought;
        self.shown.said += &piece.said;
        match self.form {
            Form::Json => Ok(()),
            // Each piece by itself: whatever ends the program leaves the terminal as it was.
            Form::Dimmed if !piece.thought.is_empty() => {
                self.write(&format!("\x1b[2m{}\x1b[22m{}", piece.thought, piece.said))
            }
            Form::Plain | Form::Dimmed => self.write(&format!("{}{}", piece.thought, piece.said)),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TURN: Turn = Turn {
        reason: "stop",
        prompt: 5,
        cached: 2,
        new: 3,
        prefill: Duration::from_secs(1),
        decode: Duration::from_secs(2),
        forgotten: 0,
        draft: None,
    };

    fn shown(form: Form, thinks: bool, pieces: &[&str]) -> String {
        let mut voice = Voice::into(form, Vec::new());
        voice.begin(thinks);
        pieces.iter().for_each(|piece| voice.say(piece).expect("room"));
        voice.end(&TURN, 7).expect("room");
        String::from_utf8(voice.out).expect("UTF-8")
    }

    #[test]
    fn thoughts_are_dimmed_on_a_terminal_alone() {
        let pieces = ["so", " on</thi", "nk>\n", "Yes."];
        let expected = "\x1b[2mso\x1b[22m\x1b[2m on\x1b[22m\x1b[2m</think>\x1b[22m\nYes.\n";
        assert_eq!(shown(Form::Dimmed, true, &pieces), expected);
        assert_eq!(shown(Form::Plain, true, &pieces), "so on</think>\nYes.\n");
        assert_eq!(shown(Form::Dimmed, false, &["Y", "es."]), "Yes.\n");
    }

    #[test]
    fn json_keeps_thoughts_from_the_answer() {
        let answer: Value =
            serde_json::from_str(&shown(Form::Json, false, &["<think>\nso\n</think>\n\nYes. "])).expect("JSON");
        assert_eq!(
            (&answer["event"], &answer["text"], &answer["thinking"]),
            (&"answer".into(), &"Yes. ".into(), &"so".into())
        );
        assert_eq!(
            (&answer["prompt_tokens"], &answer["cached_tokens"], &answer["new_tokens"]),
            (&5.into(), &2.into(), &3.into())
        );
        assert_eq!(
            (&answer["prefill_tokens_per_second"], &answer["decode_tokens_per_second"]),
            (&3.0.into(), &1.0.into())
        );
        let answer: Value = serde_json::from_str(&shown(Form::Json, false, &[" Yes"])).expect("JSON");
        assert_eq!((&answer["text"], answer.get("thinking")), (&" Yes".into(), None));
    }

    #[test]
    fn an_answer_that_fails_ends_its_line() {
        let mut voice = Voice::into(Form::Plain, Vec::new());
        voice.give_up("first").expect("room");
        voice.begin(false);
        voice.say("Ye").expect("room");
        voice.give_up("second").expect("room");
        assert_eq!(voice.out, b"Ye\n");
        let mut voice = Voice::into(Form::Json, Vec::new());
        voice.give_up("why").expect("room");
        assert_eq!(voice.out, b"{\"event\":\"error\",\"message\":\"why\"}\n");
    }
}
