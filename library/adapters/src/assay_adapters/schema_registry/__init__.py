"""Values of messages in Avro and Protobuf, by a schema registry."""
