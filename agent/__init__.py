"""The edge agent: reads field devices, records what they answer, signed, and sends it until the server has it."""
