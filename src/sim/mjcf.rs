//! The scene as text: edits of its attributes, and the order of its joints.

use std::collections::BTreeMap;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer, XmlVersion};
use serde::Deserialize;

use super::Error;

/// Sets attributes of one element of a scene, or of every element of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The element's tag, such as `geom`.
    pub element: String,
    /// The element's `name` attribute; without it every element of the tag is edited.
    pub name: Option<String>,
    /// The attributes to set, with their new values as MJCF text.
    pub set: BTreeMap<String, String>,
}

impl Edit {
    fn matches(&self, element: &BytesStart) -> Result<bool, quick_xml::Error> {
        Ok(element.name().as_ref() == self.element
            && match &self.name {
                Some(name) => attribute(element, "name")?.as_deref() == Some(name),
                None => true,
            })
    }

    /// The element with the edit's attributes in place of its own.
    fn apply(&self, element: &BytesStart) -> Result<BytesStart<'static>, quick_xml::Error> {
        let mut edited = element.to_owned();
        edited.clear_attributes();
        for attribute in element.attributes() {
            let attribute = attribute?;
            let key = attribute.key.as_ref();
            if !self.set.contains_key(key) {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
                edited.push_attribute(Attribute::from((key, value)));
            }
        }
        edited.extend_attributes(
            self.set
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        Ok(edited)
    }

    /// The element that the edit looks for, as it would stand in the scene.
    fn element(&self) -> String {
        match &self.name {
            Some(name) => format!("<{} name=\"{name}\">", self.element),
            None => format!("<{}>", self.element),
        }
    }
}

/// The scene with the edits applied, one after the other.
///
/// # Errors
///
/// [`Error::Xml`], or [`Error::NoMatch`] with the name of the condition, which the edits belong to.
pub fn edited(mjcf: &str, condition: &str, edits: &[Edit]) -> Result<String, Error> {
    edits.iter().try_fold(mjcf.to_string(), |mjcf, edit| {
        let mut reader = Reader::from_str(&mjcf);
        let mut writer = Writer::new(Vec::new());
        let mut matched = false;
        loop {
            let event = match reader.read_event()? {
                Event::Start(element) if edit.matches(&element)? => {
                    matched = true;
                    Event::Start(edit.apply(&element)?)
                }
                Event::Empty(element) if edit.matches(&element)? => {
                    matched = true;
                    Event::Empty(edit.apply(&element)?)
                }
                Event::Eof => break,
                event => event,
            };
            writer.write_event(event).map_err(quick_xml::Error::from)?;
        }
        if !matched {
            return Err(Error::NoMatch {
                condition: condition.into(),
                element: edit.element(),
            });
        }
        Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
    })
}

/// A joint as the scene's text lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joint {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What moves.
    pub kind: JointKind,
}

/// How a joint moves, which gives the sizes of its position and velocity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JointKind {
    /// A free body: position and quaternion; linear and angular velocity.
    Free,
    /// A ball: quaternion; angular velocity.
    Ball,
    /// A hinge or a slide.
    Scalar,
}

impl JointKind {
    /// The number of generalised positions and velocities.
    pub fn sizes(self) -> (usize, usize) {
        match self {
            Self::Free => (7, 6),
            Self::Ball => (4, 3),
            Self::Scalar => (1, 1),
        }
    }
}

/// The joints below `<worldbody>`, in the order of the text, which is MuJoCo's order of joints where nothing is included or
/// replicated.
///
/// # Errors
///
/// [`Error::Xml`].
pub fn joints(mjcf: &str) -> Result<Vec<Joint>, Error> {
    let mut reader = Reader::from_str(mjcf);
    let mut joints = Vec::new();
    let mut in_world = false;
    loop {
        match reader.read_event()? {
            Event::Start(element) if element.name().as_ref() == "worldbody" => in_world = true,
            Event::End(element) if element.name().as_ref() == "worldbody" => in_world = false,
            Event::Start(element) | Event::Empty(element) if in_world => {
                let kind = match element.name().as_ref() {
                    "freejoint" => JointKind::Free,
                    "joint" => match attribute(&element, "type")?.as_deref() {
                        Some("free") => JointKind::Free,
                        Some("ball") => JointKind::Ball,
                        _ => JointKind::Scalar,
                    },
                    _ => continue,
                };
                joints.push(Joint {
                    name: attribute(&element, "name")?,
                    kind,
                });
            }
            Event::Eof => return Ok(joints),
            _ => {}
        }
    }
}

fn attribute(element: &BytesStart, key: &str) -> Result<Option<String>, quick_xml::Error> {
    let Some(attribute) = element.try_get_attribute(key)? else {
        return Ok(None);
    };
    Ok(Some(
        attribute
            .normalized_value(XmlVersion::Implicit1_0)?
            .into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: &str = r#"<mujoco>
  <!-- a "comment" -->
  <default><joint type="hinge"/></default>
  <worldbody>
    <geom name='a "quoted" floor' size="1"/>
    <body><freejoint name="root"/><geom name="foot" friction="1"/>
      <body><joint name="knee"/><body><joint type="ball"/></body></body></body>
  </worldbody>
  <equality><joint name="level" joint1="knee"/></equality>
</mujoco>"#;

    fn edit(element: &str, name: Option<&str>, key: &str, value: &str) -> Edit {
        let set = BTreeMap::from([(key.into(), value.into())]);
        Edit {
            element: element.into(),
            name: name.map(Into::into),
            set,
        }
    }

    #[test]
    fn an_edit_changes_its_element_and_nothing_else() {
        let lower = edit("geom", Some("foot"), "friction", "0.1 < 1");
        let expected = SCENE.replace(r#"friction="1""#, r#"friction="0.1 &lt; 1""#);
        assert_eq!(edited(SCENE, "test", &[lower]).unwrap(), expected);
    }

    #[test]
    fn without_a_name_every_element_of_the_tag_is_edited() {
        let grown = edited(SCENE, "test", &[edit("geom", None, "size", "2")]).unwrap();
        assert_eq!(grown.matches(r#"size="2""#).count(), 2);
        assert!(
            grown.contains(r#"name="a &quot;quoted&quot; floor""#),
            "{grown}"
        );
    }

    #[test]
    fn an_edit_that_matches_nothing_is_an_error_that_names_it() {
        let error = edited(
            SCENE,
            "terrain `ice`",
            &[edit("geom", Some("paw"), "friction", "0")],
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("terrain `ice`") && message.contains(r#"<geom name="paw">"#),
            "{message}"
        );
    }

    #[test]
    fn joints_are_listed_in_order_with_their_kinds() {
        let kinds: Vec<_> = joints(SCENE)
            .unwrap()
            .into_iter()
            .map(|joint| (joint.name, joint.kind))
            .collect();
        let expected = [
            (Some("root".to_string()), JointKind::Free),
            (Some("knee".to_string()), JointKind::Scalar),
            (None, JointKind::Ball),
        ];
        assert_eq!(kinds, expected);
    }
}
