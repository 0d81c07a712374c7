//! The file of `--authentication-config`, as it is written (`AuthenticationConfiguration`).

use serde::Deserialize;

macro_rules! documents {
    ($(struct $name:ident { $($(#[$note:meta])* $field:ident: $of:ty,)* })*) => { $(
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name { $($(#[$note])* pub $field: $of,)* }
    )* };
}

documents! {
    struct Configuration {
        jwt: Vec<Authenticator>,
        anonymous: Option<Anonymous>,
    }

    struct Anonymous {
        enabled: bool,
        conditions: Vec<Condition>,
    }

    struct Condition {
        path: String,
    }

    struct Authenticator {
        issuer: Issuer,
        claim_validation_rules: Vec<ClaimRule>,
        claim_mappings: Mappings,
        user_validation_rules: Vec<UserRule>,
    }

    struct Issuer {
        url: String,
        #[serde(rename = "discoveryURL")]
        discovery_url: String,
        certificate_authority: String,
        audiences: Vec<String>,
        audience_match_policy: String,
        egress_selector_type: String,
    }

    struct ClaimRule {
        claim: String,
        required_value: String,
        expression: String,
        message: String,
    }

    struct UserRule {
        expression: String,
        message: String,
    }

    struct Mappings {
        username: Mapping,
        groups: Mapping,
        uid: Mapping,
        extra: Vec<Extra>,
    }

    struct Mapping {
        claim: String,
        prefix: Option<String>,
        expression: String,
    }

    struct Extra {
        key: String,
        value_expression: String,
    }
}
