/** What moves on the page. Without it everything can be read, but for the other moments of the topology. */
export const SCRIPT = `
const data=JSON.parse(document.getElementById('data').textContent)
const tracks=document.getElementById('tracks'),readout=document.getElementById('readout')
const moment=(ms)=>{const s=ms/1000;const two=(v)=>String(Math.floor(v)).padStart(2,'0');return s<60?s.toFixed(1)+' s':s<3600?Math.floor(s/60)+':'+two(s%60):Math.floor(s/3600)+':'+two(Math.floor(s/60)%60)+':'+two(s%60)}
const show=(event)=>{
const axis=tracks.querySelector('.axis .track').getBoundingClientRect()
const x=(event.clientX-axis.left)/axis.width
const inside=x>=0&&x<=1
tracks.classList.toggle('hover',inside)
if(!inside){readout.innerHTML='&nbsp;';return}
tracks.style.setProperty('--x',100*x)
const i=Math.min(data.owed.length-1,Math.floor(x*data.total/data.step))
const missing=data.owed[i]-data.done[i]
readout.textContent=moment(x*data.total)+'  \\u00b7  '+data.done[i].toLocaleString('en-US')+' of '+data.owed[i].toLocaleString('en-US')+' delivered'+(missing>0?', '+missing.toLocaleString('en-US')+' missing':'')
}
tracks.addEventListener('pointermove',show)
tracks.addEventListener('pointerleave',()=>{tracks.classList.remove('hover');readout.innerHTML='&nbsp;'})
const topology=document.getElementById('topology')
if(topology){
const range=topology.querySelector('input'),drawings=topology.querySelectorAll('g.shot'),captions=topology.querySelectorAll('p.shot')
const turn=()=>{for(const list of [drawings,captions])list.forEach((shot,i)=>shot.classList.toggle('on',i===Number(range.value)))}
range.addEventListener('input',turn)
for(const button of topology.querySelectorAll('button'))button.addEventListener('click',()=>{range.value=Number(range.value)+Number(button.dataset.step);turn()})
}
const copy=document.getElementById('copy')
if(navigator.clipboard)copy.addEventListener('click',()=>navigator.clipboard.writeText(data.replay).then(()=>{copy.textContent='Copied'},()=>{copy.textContent='Not copied'}))
else copy.remove()
`
