//! The epoch protocol, pure: plan, commit, snapshot, resume; the formats on disk
