// A board that all who have it open see alike. See the README of the client for how to run it.
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { connect } from 'oolith'
import { useItem, useLive, useStatus } from 'oolith/react'

const server = new URLSearchParams(location.search).get('server') ?? 'http://127.0.0.1:8800'
const store = connect(server)
const columns = ['todo', 'doing', 'done']

function App() {
  const [problem, setProblem] = useState('')
  const attempt = call => call.then(() => setProblem(''), error => setProblem(error.message))
  return (
    <>
      <Title attempt={attempt} />
      <State problem={problem} />
      <main>{columns.map(column => <Column key={column} name={column} attempt={attempt} />)}</main>
    </>
  )
}

/** The title is one object. Who changes it says which one they saw: nobody overwrites what they did not see. */
function Title({ attempt }) {
  const { item } = useItem(store, 'board/title')
  return (
    <h1>
      <input aria-label="Title" key={item?.etag} defaultValue={item?.data ?? 'A shared board'} onKeyDown={event => {
        if (event.key === 'Enter') attempt(store.set('board/title', event.target.value, item ? { ifMatch: item.etag } : { ifNoneMatch: '*' }))
      }} />
    </h1>
  )
}

function State({ problem }) {
  const { state, since } = useStatus(store)
  const at = new Date(since).toLocaleTimeString()
  return <p role="status">{problem || (state === 'live' ? '' : `not connected since ${at}: ${state}`)}</p>
}

function Column({ name, attempt }) {
  const { items } = useLive(store, `board/${name}/*`)
  const add = event => {
    event.preventDefault()
    const input = event.target.elements.text
    attempt(store.push(`board/${name}/*`, { text: input.value }).then(() => (input.value = '')))
  }
  return (
    <section aria-label={name}>
      <h2>{name} ({items.length})</h2>
      <form onSubmit={add}>
        <input name="text" aria-label={`New in ${name}`} required />
        <button>Add</button>
      </form>
      <ul>{items.map(item => <Card key={item.path} item={item} column={name} attempt={attempt} />)}</ul>
    </section>
  )
}

/** A card moves in one commit: it is never in two columns, and never in none. */
function Card({ item, column, attempt }) {
  const next = columns[columns.indexOf(column) + 1]
  const move = () => store.batch([
    { op: 'delete', path: item.path, ifMatch: item.etag },
    { op: 'set', path: `board/${next}/${item.index}`, data: item.data },
  ])
  return (
    <li>
      {item.data.text}{' '}
      {next && <button onClick={() => attempt(move())}>To {next}</button>}{' '}
      <button onClick={() => attempt(store.del(item.path, { ifMatch: item.etag }))}>Remove</button>
    </li>
  )
}

createRoot(document.getElementById('root')).render(<StrictMode><App /></StrictMode>)
