//! What a machine says about itself, and the document that says it.
//!
//! The document is the one of Azure's own agent and of cloud-init, elements in their order: `Health` of
//! `GoalStateIncarnation` and `Container` (`ContainerId`, `RoleInstanceList`, `Role`, `InstanceId`, `Health`),
//! the inner `Health` of `State`, and of `Details` if the state is `NotReady` (`spec/node.md` A4).
//!
//! I/O: none.

use quick_xml::escape::escape;

use crate::GoalState;

/// Longest description. Which unit the wireserver counts in is not documented (cloud-init cuts after
/// 512 code points); bytes of UTF-8 are the one that is short enough in all of them.
const MAX_DESCRIPTION: usize = 512;

/// The one sub-status of this protocol that is known.
const SUB_STATUS: &str = "ProvisioningFailed";

/// What a machine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is ready: Azure ends its provisioning as succeeded.
    Ready,
    /// It has failed for good: Azure ends its provisioning as failed, and shows why.
    NotReady(Description),
}

/// Why a machine is not ready, for people: at most 512 bytes without control characters.
///
/// Whoever runs the host reads it: no secret belongs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// Makes one of any text: what XML does not allow, other control characters, and blanks around and
    /// beside them become one blank; what is too long is cut off at the end.
    pub fn new(text: &str) -> Self {
        let mut description = String::new();
        for word in text.split(|c: char| is_forbidden(c) || c == ' ') {
            if word.is_empty() {
                continue;
            }
            if !description.is_empty() {
                description.push(' ');
            }
            description.push_str(word);
        }
        let end = description.floor_char_boundary(MAX_DESCRIPTION);
        description.truncate(description.get(..end).unwrap_or_default().trim_end().len());
        Self(description)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// XML 1.0 allows none of the control characters but tabulator and line ends, which would only make a
/// log entry ambiguous, and not the two last code points of the basic plane.
fn is_forbidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

impl Report {
    /// The document that reports this about a goal state.
    pub(crate) fn to_xml(&self, goal_state: &GoalState) -> String {
        let health = match self {
            Self::Ready => "<State>Ready</State>".to_owned(),
            Self::NotReady(description) => format!(
                "<State>NotReady</State><Details><SubStatus>{SUB_STATUS}</SubStatus>\
                 <Description>{}</Description></Details>",
                escape(description.as_str())
            ),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <Health xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\
             <GoalStateIncarnation>{}</GoalStateIncarnation>\
             <Container><ContainerId>{}</ContainerId>\
             <RoleInstanceList><Role><InstanceId>{}</InstanceId><Health>{health}</Health></Role></RoleInstanceList>\
             </Container></Health>",
            escape(&goal_state.incarnation),
            escape(&goal_state.container),
            escape(&goal_state.instance),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn description(text: &str) -> String {
        Description::new(text).as_str().to_owned()
    }

    #[test]
    fn descriptions_are_short_and_printable() {
        assert_eq!(
            description(" a\r\n\tb\0\x1b[1m  c\u{ffff}\u{2028} "),
            "a b [1m c"
        );
        assert_eq!(description(&"d".repeat(600)), "d".repeat(512));
        assert_eq!(description(&"ä".repeat(600)), "ä".repeat(256));
        assert_eq!(
            description(&format!("x{}", "ä".repeat(600))).len(),
            511,
            "no character is cut"
        );
        assert_eq!(description("\n\u{85}\u{7f}"), "");
    }

    #[test]
    fn what_others_say_is_escaped() {
        let goal_state = GoalState {
            incarnation: "7".to_owned(),
            container: "c]]>".to_owned(),
            instance: "a<b>&\"c\"'".to_owned(),
        };
        let report = Report::NotReady(Description::new("</Description>&"));
        let xml = report.to_xml(&goal_state);
        for part in [
            "<GoalStateIncarnation>7</GoalStateIncarnation>",
            "<ContainerId>c]]&gt;</ContainerId>",
            "<InstanceId>a&lt;b&gt;&amp;&quot;c&quot;&apos;</InstanceId>",
            "<Description>&lt;/Description&gt;&amp;</Description>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_description(text: String) {
            let once = Description::new(&text);
            prop_assert!(once.as_str().len() <= MAX_DESCRIPTION);
            prop_assert!(!once.as_str().chars().any(is_forbidden));
            prop_assert_eq!(&Description::new(once.as_str()), &once);
        }
    }
}
