//! `filature admin`.

use clap::Subcommand;
use serde::Serialize;

use super::{Failure, output};
use crate::admin::{AdminToken, generate_token};

const EXAMPLES: &str = "\
Examples:
  filature admin token ada
  filature serve --admin-listen 127.0.0.1:9090 --admin-tokens ada:5f1d…
  curl -H 'Authorization: Bearer fil-admin-…' http://127.0.0.1:9090/admin/v1/accounts

The token is printed once; the configuration holds only its hash. Changes made with it carry its
name in `filature audit`. To take it away, remove its line and restart the gateway.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Admin {
    /// Make a token for the admin API, and print it and the line that lets it in, once.
    #[command(after_help = EXAMPLES)]
    Token {
        /// Whose it is: letters, digits, `.`, `_` and `-`.
        name: String,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

/// A new token.
#[derive(Serialize)]
struct Made {
    token: String,
    /// What belongs into `admin.tokens`.
    line: String,
}

pub(super) fn run(command: Admin) -> Result<(), Failure> {
    let Admin::Token { name, json } = command;
    let token = generate_token(&mut rand::rng());
    let line = AdminToken::new(&name, &token);
    let line = line.map_err(|_| Failure::Usage("a name has 1 to 64 letters, digits, `.`, `_` and `-`".to_owned()))?;
    let made = Made {
        token,
        line: line.to_string(),
    };
    output::show(json, &made, || {
        output::facts(&[
            ("token", made.token.clone()),
            ("configure", format!("admin.tokens = [{:?}]", made.line)),
        ])
    })?;
    output::note("this is the only time the token is shown");
    Ok(())
}
