//! The page that a user reads when the network runs.
//!
//! I/O: none.

use std::fmt::{Display, Formatter, Result};

use super::facts::{Facts, HubFacts, NodeFacts};
use super::registration::Contact;

impl Display for Facts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "\n{}", self.hub)?;
        writeln!(f, "  lets in    {}", self.measurement_id)?;
        writeln!(f, "  log        {}", self.hub.log.display())?;
        for node in &self.nodes {
            write!(f, "\n{node}")?;
        }
        writeln!(
            f,
            "\nAll evidence is made with test keys, trusted by nobody who is not told to. To try:"
        )?;
        for command in &self.commands {
            writeln!(f, "  {command}")?;
        }
        writeln!(f, "\nState: {}", self.state.display())?;
        writeln!(f, "Logs:  {}", self.logs.display())?;
        let verdict = match self.well {
            true => {
                "All is well: every node measures as predicted, has proven it, and has registered what it serves on all ports."
            }
            false => "NOT all is well: see above.",
        };
        writeln!(f, "\n{verdict}")
    }
}

impl Display for HubFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { user, password, .. } = self;
        writeln!(f, "The hub, to nodes {}", self.url)?;
        writeln!(
            f,
            "  page, API  {}  user {user}, password {password}",
            self.page
        )?;
        writeln!(f, "  nodes      {}, attested TLS", self.attested)?;
        writeln!(f, "  main       {}", self.main)?;
        writeln!(f, "  internal   {}", self.internal)?;
        write!(f, "  metrics    {}", self.metrics)
    }
}

impl Display for NodeFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{}, {}", self.name, self.address)?;
        let ports = self.ports.iter().map(|(guest, at)| match at.port() {
            same if same == *guest => guest.to_string(),
            other => format!("{guest} as {other}"),
        });
        let ports: Vec<_> = ports.collect();
        writeln!(f, "  ports      {}", ports.join(", "))?;
        match &self.refusal {
            None => writeln!(
                f,
                "  verified   cvmctl trusts it; its certificate: {}",
                self.certificate.display()
            )?,
            Some(why) => writeln!(f, "  NOT VERIFIED: {why}")?,
        }
        let words = match self.equal {
            true => "as predicted",
            false => "NOT AS PREDICTED",
        };
        writeln!(f, "  measured   {words}")?;
        for line in self.registers.to_string().lines() {
            writeln!(f, "           {line}")?;
        }
        writeln!(f, "  to the hub {}", self.hub)?;
        if !self.hub.registered.is_empty() {
            let words = match self.served_is_registered {
                true => "the one that it serves",
                false => "another than it serves",
            };
            writeln!(f, "  registered certificate: {words}")?;
        }
        for (port, status) in &self.services {
            match status {
                Some(status) => writeln!(f, "  service    {port}: answers {status}, with it")?,
                None => writeln!(f, "  NO SERVICE on {port} that has it")?,
            }
        }
        writeln!(f, "  health     {}", self.health)?;
        writeln!(f, "  data disk  {}", self.disk)?;
        writeln!(
            f,
            "  Azure      wireserver {}, metadata {}",
            self.wireserver, self.metadata
        )?;
        writeln!(f, "  logs       {}", self.logs.display())
    }
}

impl Display for Contact {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Some(at) = &self.at else {
            return write!(
                f,
                "it has never been heard of: no configuration, nothing registered"
            );
        };
        let runs = self.measurement_id.as_deref().unwrap_or("nothing known");
        write!(f, "heard of at {at}, runs {runs}; ")?;
        if self.registered.is_empty() {
            return write!(f, "not registered yet");
        }
        let services = self.registered.iter().map(|one| {
            let proof = if one.is_proven { ", key proven" } else { "" };
            match &one.expires {
                Some(expires) => format!("{} (until {expires}{proof})", one.service),
                None => one.service.clone(),
            }
        });
        let services: Vec<_> = services.collect();
        write!(f, "registered {}", services.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::registration::Registered;
    use super::*;

    fn contact() -> Contact {
        Contact {
            at: Some("2026-11-22T09:00:00Z".to_owned()),
            measurement_id: Some("simulated-x".to_owned()),
            registered: Vec::new(),
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(contact().to_string().ends_with("not registered yet"));
        let silent = Contact {
            at: None,
            ..contact()
        };
        assert!(silent.to_string().contains("never been heard of"));
    }

    #[test]
    fn registrations_are_listed() {
        let mut contact = contact();
        contact.registered.push(Registered {
            service: "orderflow_proxy".to_owned(),
            certificate: None,
            expires: Some("2027-01-01T00:00:00Z".to_owned()),
            is_proven: true,
        });
        assert!(
            contact
                .to_string()
                .ends_with("registered orderflow_proxy (until 2027-01-01T00:00:00Z, key proven)")
        );
    }
}
