"""What a combo leaves behind: schema, identity, store."""
