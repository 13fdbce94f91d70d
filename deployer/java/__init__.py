"""What Java class files say: members, bytecode, and how Java serialises their objects. Pure."""
