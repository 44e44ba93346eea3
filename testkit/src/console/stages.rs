//! How long each stage of the node's boot took, told from the console alone.
//!
//! The boot says `STAGE: begun` and, in the end, `STAGE: …, after 1.2 s`.
//!
//! I/O: none.

use std::time::Duration;

use super::Line;

/// What the boot's lines have before what it says.
const AGENT: &str = "cvm-agent[";
const BEGUN: &str = "begun";
const AFTER: &str = ", after ";

/// One stage that was gone through.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// When it was over, since power-on.
    pub done: Duration,
    /// How long it took by its own word, in seconds.
    pub seconds: f64,
}

/// The stages that are over, in the order in which they ended. One that is gone through again is there
/// again.
pub fn stages(lines: &[Line]) -> Vec<Stage> {
    let mut begun = Vec::new();
    let mut done = Vec::new();
    for line in lines {
        let Some((name, said)) = said(&line.text) else {
            continue;
        };
        if said == BEGUN {
            begun.push(name);
            continue;
        }
        // What is no stage may say how long it took, too.
        let seconds = said.rsplit_once(AFTER).and_then(|(_, after)| {
            let seconds = after.strip_suffix(" s")?;
            seconds.parse().ok()
        });
        if let Some(seconds) = seconds.filter(|_| begun.contains(&name)) {
            done.push(Stage {
                name: name.to_owned(),
                done: line.at,
                seconds,
            });
        }
    }
    done
}

/// `… cvm-agent[380]: STAGE: what is said`
fn said(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(AGENT)?;
    let (_, said) = rest.split_once("]: ")?;
    said.split_once(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_those_that_began_and_ended() {
        let texts = [
            "[   67.3] cvm-agent[380]: clock: begun",
            "[   67.3] cvm-agent[380]: clock: plausible",
            "[   67.3] cvm-agent[380]: clock: it shows a time after the image was built, after 0.0 s",
            "[   67.4] cvm-agent[380]: configuration: begun",
            "[   67.5] cvm-agent[380]: check-in: attempt 1 failed, after 3.0 s",
            "[   82.3] cvm-agent[380]: configuration: fetched, and nothing is missing, after 15.0 s",
            "[   82.4] cvm-agent[380]: ready: begun",
        ];
        let lines: Vec<_> = texts
            .iter()
            .map(|text| Line {
                at: Duration::from_secs(9),
                text: (*text).to_owned(),
            })
            .collect();
        let found = stages(&lines);
        let found: Vec<_> = found
            .iter()
            .map(|stage| (stage.name.as_str(), stage.seconds))
            .collect();
        assert_eq!(found, [("clock", 0.0), ("configuration", 15.0)]);
    }
}
