//! A machine's report of its health, in either protocol.
//!
//! Read strictly: an element or member that Azure does not know is refused here, so that tests
//! notice it.
//!
//! I/O: none.

use serde::Deserialize;

use super::GoalState;
use super::xml::Element;

/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 512;

/// In which protocol a report came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /machine?comp=health`, about a goal state.
    Xml,
    /// `POST /provisioning/health`.
    Json,
}

/// What a machine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is ready.
    Ready,
    /// It is not.
    NotReady(Details),
}

/// Why a machine is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Details {
    /// `ProvisioningFailed`; in the JSON protocol also `Provisioning`.
    pub sub_status: String,
    /// For people.
    pub description: String,
}

/// Why a report is not accepted, and the status that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self {
            status: 400,
            text: text.into(),
        }
    }
}

/// A report in XML: says what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    incarnation: String,
    container: String,
    instance: String,
    health: Health,
}

impl Claim {
    /// Parses the report.
    pub(super) fn parse_xml(bytes: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::malformed("not UTF-8"))?;
        let root = Element::parse(text).map_err(|error| Refusal::malformed(error.to_string()))?;
        if root.name != "Health" {
            return Err(Refusal::malformed(format!("<{}>, not <Health>", root.name)));
        }
        // Azure's parser wants them in this order.
        let [incarnation, container] = children(&root, ["GoalStateIncarnation", "Container"])?;
        let [id, list] = children(container, ["ContainerId", "RoleInstanceList"])?;
        let [role] = children(list, ["Role"])?;
        let [instance, health] = children(role, ["InstanceId", "Health"])?;
        Ok(Self {
            incarnation: incarnation.text.clone(),
            container: id.text.clone(),
            instance: instance.text.clone(),
            health: health_of(health)?,
        })
    }

    /// Checks that the report is about this goal state.
    pub(super) fn check(self, goal_state: &GoalState) -> Result<Health, Refusal> {
        let GoalState {
            container,
            instance,
            incarnation,
            ..
        } = goal_state;
        if (&self.container, &self.instance) != (container, instance) {
            return Err(Refusal {
                status: 410,
                text: format!(
                    "about {} {}, not {container} {instance}",
                    self.container, self.instance
                ),
            });
        }
        if self.incarnation != incarnation.to_string() {
            return Err(Refusal {
                status: 409,
                text: format!("about incarnation {}, not {incarnation}", self.incarnation),
            });
        }
        Ok(self.health)
    }
}

/// The children, which must be exactly these.
fn children<'a, const N: usize>(
    element: &'a Element,
    names: [&str; N],
) -> Result<[&'a Element; N], Refusal> {
    let found: Vec<&Element> = element.children.iter().collect();
    let actual: Vec<&str> = found.iter().map(|child| child.name.as_str()).collect();
    let wrong = || {
        let name = &element.name;
        Refusal::malformed(format!("<{name}> has {actual:?}, not {names:?}"))
    };
    if actual != names {
        return Err(wrong());
    }
    found.try_into().map_err(|_| wrong())
}

fn health_of(element: &Element) -> Result<Health, Refusal> {
    let state = element.children.first().map(|state| state.text.as_str());
    match state {
        Some("Ready") => {
            children(element, ["State"])?;
            Ok(Health::Ready)
        }
        Some("NotReady") => {
            let [_, details] = children(element, ["State", "Details"])?;
            let [sub_status, description] = children(details, ["SubStatus", "Description"])?;
            not_ready(
                Details {
                    sub_status: sub_status.text.clone(),
                    description: description.text.clone(),
                },
                &["ProvisioningFailed"],
            )
        }
        other => Err(Refusal::malformed(format!("state is {other:?}"))),
    }
}

fn not_ready(details: Details, known: &[&str]) -> Result<Health, Refusal> {
    if !known.contains(&details.sub_status.as_str()) {
        let text = format!("sub-status is {}, not one of {known:?}", details.sub_status);
        return Err(Refusal::malformed(text));
    }
    let length = details.description.chars().count();
    if length > MAX_DESCRIPTION {
        return Err(Refusal::malformed(format!(
            "description of {length} characters, not {MAX_DESCRIPTION}"
        )));
    }
    Ok(Health::NotReady(details))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    state: String,
    details: Option<Details>,
}

/// Parses a report in JSON.
pub(super) fn parse_json(bytes: &[u8]) -> Result<Health, Refusal> {
    let body: Body =
        serde_json::from_slice(bytes).map_err(|error| Refusal::malformed(error.to_string()))?;
    match (body.state.as_str(), body.details) {
        ("Ready", None) => Ok(Health::Ready),
        ("NotReady", Some(details)) => not_ready(details, &["ProvisioningFailed", "Provisioning"]),
        (state, details) => Err(Refusal::malformed(format!(
            "state {state} with details {details:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(inner: &str) -> String {
        let GoalState {
            container,
            instance,
            ..
        } = GoalState::of_machine("node");
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Health xmlns:xsi=\"x\" xmlns:xsd=\"y\">\
             <GoalStateIncarnation>1</GoalStateIncarnation><Container>\
             <ContainerId>{container}</ContainerId><RoleInstanceList><Role>\
             <InstanceId>{instance}</InstanceId><Health>{inner}</Health>\
             </Role></RoleInstanceList></Container></Health>"
        )
    }

    fn check(report: &str) -> Result<Health, Refusal> {
        Claim::parse_xml(report.as_bytes())?.check(&GoalState::of_machine("node"))
    }

    #[test]
    fn reports_in_xml_are_read() {
        let ready = report("<State>Ready</State>");
        assert_eq!(check(&ready), Ok(Health::Ready));
        let not_ready = report(
            "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>\
             <Description>no disk &amp; no hope</Description></Details>",
        );
        let Ok(Health::NotReady(details)) = check(&not_ready) else {
            panic!("{not_ready}");
        };
        assert_eq!(details.description, "no disk & no hope");
    }

    #[test]
    fn report_about_another_goal_state_is_refused() {
        let ready = report("<State>Ready</State>");
        let status = |text: &str| check(text).unwrap_err().status;
        assert_eq!(status(&ready.replace(">1<", ">2<")), 409);
        assert_eq!(status(&ready.replace(">1<", ">01<")), 409);
        assert_eq!(status(&ready.replace("4b3b3f5e", "4b3b3f5f")), 410);
        assert_eq!(status(&ready.replace("_node", "_other")), 410);
    }

    #[test]
    fn other_shapes_are_refused() {
        let ready = report("<State>Ready</State>");
        let long = "d".repeat(513);
        for text in [
            ready.replace("Health", "Wealth"),
            ready.replace("<Role>", "<Role/><Role>"),
            ready.replace("GoalStateIncarnation", "Incarnation"),
            report("<State>Well</State>"),
            report("<State>NotReady</State>"),
            report("<State>Ready</State><Details/>"),
            report(&format!(
                "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>\
                 <Description>{long}</Description></Details>"
            )),
            String::new(),
        ] {
            assert_eq!(check(&text).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn reports_in_json_are_read() {
        assert_eq!(parse_json(br#"{"state":"Ready"}"#), Ok(Health::Ready));
        let not_ready =
            br#"{"state":"NotReady","details":{"subStatus":"Provisioning","description":"soon"}}"#;
        assert!(matches!(parse_json(not_ready), Ok(Health::NotReady(_))));
        for text in [
            "",
            "[]",
            r#"{"state":"ready"}"#,
            r#"{"state":"NotReady"}"#,
            r#"{"state":"Ready","more":1}"#,
            r#"{"state":"NotReady","details":{"subStatus":"Odd","description":""}}"#,
        ] {
            assert_eq!(
                parse_json(text.as_bytes()).unwrap_err().status,
                400,
                "{text}"
            );
        }
    }
}
