//! `--provider` and `--credentials` of `build`: which target each is for, and which belong together.

use super::args::Build;
use super::error::{Exit, Failure};
use super::inputs;
use crate::factory::order::Delivery;

/// What the command line says of deliveries.
///
/// # Errors
/// It can be read in two ways; the hint says what to write.
pub(super) fn read(arguments: &Build) -> Result<Vec<Delivery>, Failure> {
    let targets = arguments.targets.as_slice();
    let providers = directed("--provider", &arguments.providers, targets)?;
    let credentials = directed("--credentials", &arguments.credentials, targets)?;
    if let Some((target, _)) =
        credentials.iter().find(|(target, _)| !providers.iter().any(|(other, _)| other == target))
    {
        let message = format!("there are credentials for target `{target}`, and no provider");
        return Err(usage(message, format!("write `--provider {target}=PROVIDER`")));
    }
    let mut deliveries = Vec::new();
    for target in targets {
        let of = |all: &[(&str, &str)]| -> Vec<String> {
            let own = all.iter().filter(|(other, _)| other == target);
            own.map(|(_, text)| (*text).to_owned()).collect()
        };
        let (providers, credentials) = (of(&providers), of(&credentials));
        if credentials.len() > 1 && credentials.len() != providers.len() {
            let message = format!(
                "target `{target}` has {} of `--provider` and {} of `--credentials`",
                providers.len(),
                credentials.len()
            );
            let hint = "write one `--credentials` that serves all its providers, or one for each, \
                        in their order";
            return Err(usage(message, hint));
        }
        for (position, provider) in providers.iter().enumerate() {
            // One serves all.
            let own = credentials.get(position).or(credentials.first());
            deliveries.push(Delivery {
                target: target.clone(),
                provider: inputs::text_or_file(provider)?,
                credentials: own.map(|text| inputs::text_or_file(text)).transpose()?,
                snapshot: arguments.snapshot,
            });
        }
    }
    Ok(deliveries)
}

/// The target of each text, and the text without it. A prefix counts only when it is a target of the
/// build: what stands before a `=` may belong to the text.
fn directed<'a>(
    flag: &str,
    texts: &'a [String],
    targets: &'a [String],
) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    let direct = |(position, text): (usize, &'a String)| {
        let named = text.split_once('=');
        if let Some((target, rest)) =
            named.filter(|(target, _)| targets.iter().any(|other| other == target))
        {
            return Ok((target, rest));
        }
        if let [only] = targets {
            return Ok((only.as_str(), text.as_str()));
        }
        // Not the text: it may be a secret.
        let message =
            format!("number {} of `{flag}` does not say which target it is for", position + 1);
        let hint = format!("write `{flag} TARGET=…` with one of `{}`", targets.join("`, `"));
        Err(usage(message, hint))
    };
    texts.iter().enumerate().map(direct).collect()
}

fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;

    fn read_words(words: &str) -> Result<Vec<(String, String, Option<String>)>, Failure> {
        let words = ["imageforge", "build", "t.tdl"].into_iter().chain(words.split(' '));
        let Command::Build(build) = Cli::try_parse_from(words).unwrap().command else {
            unreachable!("a build was asked for");
        };
        let read = read(&build)?.into_iter();
        Ok(read.map(|it| (it.target, it.provider, it.credentials)).collect())
    }

    fn delivery(
        target: &str,
        provider: &str,
        credentials: &str,
    ) -> (String, String, Option<String>) {
        let credentials = Some(credentials.to_owned()).filter(|text| !text.is_empty());
        (target.to_owned(), provider.to_owned(), credentials)
    }

    #[test]
    fn without_a_prefix_what_is_named_is_for_the_only_target() {
        let read = read_words("--target a --provider @x=y --credentials @s").unwrap();
        assert_eq!(read, [delivery("a", "x=y", "s")]);
        let read = read_words("--target a --provider a=@x --provider b=@y").unwrap();
        assert_eq!(read, [delivery("a", "x", ""), delivery("a", "b=@y", "")]);
    }

    #[test]
    fn one_text_of_credentials_serves_all_providers_of_a_target_and_several_go_in_order() {
        let both = "--target a --target b --provider a=@1 --provider b=@2 --provider a=@3";
        let read = read_words(&format!("{both} --credentials a=@s")).unwrap();
        let expected = [delivery("a", "1", "s"), delivery("a", "3", "s"), delivery("b", "2", "")];
        assert_eq!(read, expected);
        let read = read_words(&format!("{both} --credentials a=@s --credentials a=@t")).unwrap();
        let expected = [delivery("a", "1", "s"), delivery("a", "3", "t"), delivery("b", "2", "")];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_without_showing_it() {
        for (words, says) in [
            ("--target a --target b --provider @hunter2", "number 1 of `--provider`"),
            ("--target a --target b --provider a=@1 --credentials @hunter2", "of `--credentials`"),
            ("--target a --target b --provider a=@1 --credentials b=@hunter2", "no provider"),
            (
                "--target a --provider 1 --provider 2 --provider 3 --credentials @hunter2 \
                 --credentials @hunter2",
                "3 of `--provider` and 2",
            ),
        ] {
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            let text = read_words(&words).unwrap_err().to_text();
            assert!(text.contains(says) && text.contains("hint: write"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
