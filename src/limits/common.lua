-- What the scripts of the gates share; put before each of them.
-- For how many ms after its time a reserved turn is remembered.
local UNUSED = 60000
-- A gate that nobody passes is forgotten after so many ms, unless turns are reserved beyond that.
local IDLE = 3600000
