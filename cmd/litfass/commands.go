package main

// commands is the table of everything litfass can do. A room adds its rows in a
// file of its own and names them here.
func commands() []command {
	return []command{
		{name: "config", short: "show or check the configuration", sub: configCommands()},
		{name: "version", short: "print the version", run: cmdVersion},
	}
}
