//! What Azure wants a machine to do: names its container and counts its incarnations.
//!
//! I/O: none.

use super::VERSION;

/// A goal state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalState {
    /// The container's UUID.
    pub container: String,
    /// The role instance's name: for a machine on its own, a UUID, a dot and the machine's name.
    pub instance: String,
    /// How many goal states this container has been given.
    pub incarnation: u32,
    /// Whether the document begins with a byte order mark, as some versions of the service do.
    pub has_byte_order_mark: bool,
}

impl GoalState {
    /// The first goal state of a machine of this name.
    pub fn of_machine(name: &str) -> Self {
        Self {
            container: "4b3b3f5e-6f8d-4f07-9c0a-0f5b0d5a2c11".to_owned(),
            instance: format!("7e61d6a4-52b1-4c5a-8d0b-3c9a1f2e4d5c._{name}"),
            incarnation: 1,
            has_byte_order_mark: false,
        }
    }

    /// The document as the service sends it.
    pub(super) fn to_xml(&self) -> String {
        let mark = if self.has_byte_order_mark {
            "\u{feff}"
        } else {
            ""
        };
        let configuration = self.configuration();
        let (container, instance) = (escape(&self.container), escape(&self.instance));
        let incarnation = self.incarnation;
        format!(
            r#"{mark}<?xml version="1.0" encoding="utf-8"?>
<GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xsi:noNamespaceSchemaLocation="goalstate10.xsd">
  <Version>{VERSION}</Version>
  <Incarnation>{incarnation}</Incarnation>
  <Machine>
    <ExpectedState>Started</ExpectedState>
    <StopRolesDeadlineHint>300000</StopRolesDeadlineHint>
    <LBProbePorts>
      <Port>16001</Port>
    </LBProbePorts>
    <ExpectHealthReport>FALSE</ExpectHealthReport>
  </Machine>
  <Container>
    <ContainerId>{container}</ContainerId>
    <RoleInstanceList>
      <RoleInstance>
        <InstanceId>{instance}</InstanceId>
        <State>Started</State>
        <Configuration>
{configuration}        </Configuration>
      </RoleInstance>
    </RoleInstanceList>
  </Container>
</GoalState>
"#
        )
    }

    fn configuration(&self) -> String {
        let Self {
            container,
            instance,
            incarnation,
            ..
        } = self;
        let url = |query: &str| {
            escape(&format!(
                "http://168.63.129.16:80/machine/{container}/{instance}?{query}&incarnation={incarnation}"
            ))
        };
        let items = [
            (
                "HostingEnvironmentConfig",
                url("comp=config&type=hostingEnvironmentConfig"),
            ),
            ("SharedConfig", url("comp=config&type=sharedConfig")),
            ("ExtensionsConfig", url("comp=config&type=extensionsConfig")),
            ("FullConfig", url("comp=config&type=fullConfig")),
            ("Certificates", url("comp=certificates")),
            (
                "ConfigName",
                escape(&format!(
                    "{container}.0.{container}.0.{instance}.{incarnation}.xml"
                )),
            ),
        ];
        let line = |(name, value)| format!("          <{name}>{value}</{name}>\n");
        items.map(line).concat()
    }
}

/// Text as the content of an element.
fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::xml::Element;
    use super::*;

    #[test]
    fn document_says_what_the_goal_state_does() {
        let state = GoalState {
            incarnation: 7,
            ..GoalState::of_machine("a<b>&c")
        };
        let root = Element::parse(&state.to_xml()).unwrap();
        assert_eq!(root.name, "GoalState");
        let child = |path: &[&str]| {
            path.iter()
                .try_fold(&root, |element, name| element.child(name))
                .unwrap()
                .text
                .clone()
        };
        assert_eq!(child(&["Incarnation"]), "7");
        assert_eq!(child(&["Machine", "LBProbePorts", "Port"]), "16001");
        assert_eq!(child(&["Container", "ContainerId"]), state.container);
        let instance = ["Container", "RoleInstanceList", "RoleInstance"];
        let of_instance = |names: &[&str]| child(&[&instance[..], names].concat());
        assert_eq!(of_instance(&["InstanceId"]), state.instance);
        let url = of_instance(&["Configuration", "FullConfig"]);
        assert!(
            url.ends_with("?comp=config&type=fullConfig&incarnation=7"),
            "{url}"
        );
    }

    #[test]
    fn ampersands_of_addresses_are_escaped() {
        let xml = GoalState::of_machine("node").to_xml();
        assert!(xml.contains("?comp=config&amp;type=fullConfig&amp;incarnation=1</FullConfig>"));
    }
}
