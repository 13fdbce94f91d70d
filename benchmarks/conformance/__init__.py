"""The same hostile material through Switchyard, nginx, HAProxy and Caddy, judged by several parsers."""
