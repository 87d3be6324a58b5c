// Command litfass is the one binary of litfass: a store-and-forward news server
// for the boxes of a mesh network, and the commands that look after it.
//
// main turns signals into a context and calls run. The commands stand in one
// table (commands.go); each is a function of a *call, which holds its arguments,
// its streams and its configuration. Commands that work on a node's data are
// requests to the control handler (control.go): over the Unix socket
// DATA/control.sock while a node runs, else to the same handler in this process,
// which then holds the data itself. serve.go is the list of a node's parts.
package main
