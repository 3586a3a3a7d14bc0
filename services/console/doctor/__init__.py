"""`pbx doctor`: a test call through the running PBX over every family it listens on."""
