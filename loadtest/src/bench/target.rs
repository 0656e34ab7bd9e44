//! Whom the benchmark measures: `name[:variant]=URL[,pid=PID]…[,key=API_KEY][,model=MODEL]`.

use std::str::FromStr;

/// One server to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the table and the JSON; `direct` is what the others are compared with.
    pub name: String,
    /// A second way through the same server: its figures stand under `CASE_VARIANT`.
    pub variant: Option<String>,
    /// URL its API begins at.
    pub base_url: String,
    /// Processes whose CPU time is its cost; their children count as well.
    pub pids: Vec<u32>,
    /// API key.
    pub key: Option<String>,
    /// Model to call; the benchmark's usual one when `None`.
    pub model: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text
            .split_once('=')
            .ok_or("a target is name=URL, with ,pid= ,key= ,model= after it")?;
        let (name, variant) = match name.split_once(':') {
            Some((name, variant)) => (name, Some(variant.to_owned())),
            None => (name, None),
        };
        let mut parts = rest.split(',');
        let base_url = parts
            .next()
            .filter(|url| url.starts_with("http"))
            .ok_or("the URL is missing")?
            .to_owned();
        let mut target = Self {
            name: name.to_owned(),
            variant,
            base_url,
            pids: Vec::new(),
            key: None,
            model: None,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("pid", pid)) => target
                    .pids
                    .push(pid.parse().map_err(|_| format!("{pid} is no process id"))?),
                Some(("key", key)) => target.key = Some(key.to_owned()),
                Some(("model", model)) => target.model = Some(model.to_owned()),
                _ => return Err(format!("{part} is none of pid=, key=, model=")),
            }
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_with_all_its_parts() {
        let target: Target = "gateway:tunnel=http://h:1/v1,pid=7,pid=8,key=sk,model=m"
            .parse()
            .expect("it is well formed");
        assert_eq!(
            (target.name.as_str(), target.variant.as_deref()),
            ("gateway", Some("tunnel"))
        );
        assert_eq!(
            (target.base_url.as_str(), target.pids.as_slice()),
            ("http://h:1/v1", [7, 8].as_slice())
        );
        assert_eq!(
            (target.key.as_deref(), target.model.as_deref()),
            (Some("sk"), Some("m"))
        );
        for bad in ["nginx", "nginx=", "nginx=http://h,pid=x", "nginx=http://h,color=red"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
