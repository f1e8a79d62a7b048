-- A window is (measured_at - w, measured_at]. Counts it again, by a plain join and for three minutes of each day, and returns
-- the rows that disagree: one that counts more has seen the future, one that counts less has lost the past.
with carrier_rows as (
    select carrier, measured_at, flights
    from {{ ref('carrier_punctuality_7d') }}
    where extract(minute from measured_at) = 17 and extract(hour from measured_at) in (3, 14, 20)
),

carrier_recounted as (
    select carrier_rows.carrier, carrier_rows.measured_at, carrier_rows.flights, count(landed.flight_id) as recounted
    from carrier_rows
    left join {{ ref('stg_landed_flights') }} as landed
        on landed.carrier = carrier_rows.carrier
        and landed.landed_at <= carrier_rows.measured_at
        and landed.landed_at > carrier_rows.measured_at - interval '7' day
    group by carrier_rows.carrier, carrier_rows.measured_at, carrier_rows.flights
),

airport_rows as (
    select airport, measured_at, departures
    from {{ ref('airport_recent_3h') }}
    where extract(minute from measured_at) = 17 and extract(hour from measured_at) in (3, 14, 20)
),

airport_recounted as (
    select airport_rows.airport, airport_rows.measured_at, airport_rows.departures, count(flights.flight_id) as recounted
    from airport_rows
    left join {{ ref('stg_flights') }} as flights
        on flights.origin = airport_rows.airport
        and flights.departed_at <= airport_rows.measured_at
        and flights.departed_at > airport_rows.measured_at - interval '3' hour
    group by airport_rows.airport, airport_rows.measured_at, airport_rows.departures
)

select 'carrier_punctuality_7d' as view_name, carrier as entity, measured_at, flights as counted, recounted
from carrier_recounted
where flights != recounted
union all
select 'airport_recent_3h', airport, measured_at, departures, recounted
from airport_recounted
where departures != recounted
