//go:build race

package command

// raceDetector tells whether the tests are built with it: they are ten times slower then.
const raceDetector = true
