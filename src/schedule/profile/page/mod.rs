//! The profile as a page for a browser: one file that needs no other and no network.
//!
//! What comes from outside (names of sequences, systems and models) reaches the page as JSON only, from which its script
//! makes text, never markup.

mod data;

use super::{Profile, Timeline};

/// A page that shows what each system costs, one step layer by layer, and where the budget of each call of
/// [`advance`](crate::schedule::advance()) went. Of a long timeline it has some steps and calls in detail, and says how many
/// it leaves out.
///
/// `facts` are said above it all, each under its name; `bandwidth` is what reads memory at most, in bytes per second.
#[must_use]
pub fn html_page(profile: &Profile, timeline: &Timeline, facts: &[(&str, String)], bandwidth: f64) -> String {
    let data = data::data(profile, timeline, facts, bandwidth).to_string();
    // Within a script element, only these could end the JSON or begin a comment.
    let data = data.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    format!(
        include_str!("page.html"),
        style = include_str!("style.css"),
        data = data,
        script = include_str!("script.js")
    )
}
